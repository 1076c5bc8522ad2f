// resolve.mjs NAME: every IPv4 address that Node finds by c-ares, a line each; exit code 1 without one.
import { Resolver } from "node:dns/promises";

try {
  for (const address of await new Resolver().resolve4(process.argv[2])) console.log(address);
} catch (error) {
  console.error(error.code);
  process.exit(1);
}
