package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// kind is what the schema allows for a property.
type kind int

const (
	text kind = iota
	number
	flagged
	texts
	list
	textMap
	sourceFile
	connectionObject
	proxyObject
)

// field is one input property. It is checked here and not only by SDKs: YAML and dictionaries come as they are.
type field struct {
	name     string
	kind     kind
	required bool
	secret   bool
	// standard is filled in when the property is absent.
	standard any
	oneOf    []string
	// unsupported names what the stand-in can't do.
	unsupported bool
}

var endpointFields = []field{
	{name: "host", kind: text, required: true},
	{name: "user", kind: text, standard: "root"},
	{name: "port", kind: number, standard: 22.0},
	{name: "password", kind: text, secret: true},
	{name: "privateKey", kind: text, secret: true},
	{name: "privateKeyPassword", kind: text, secret: true},
	{name: "agentSocketPath", kind: text},
	{name: "dialErrorLimit", kind: number, standard: 10.0},
	{name: "perDialTimeout", kind: number, standard: 15.0},
	{name: "hostKey", kind: text},
}

var connectionFields = append(slices.Clone(endpointFields), field{name: "proxy", kind: proxyObject})

var loggingField = field{name: "logging", kind: text, oneOf: []string{logStdout, logStderr, logBoth, logNone}}

var commandFields = []field{
	{name: "create", kind: text},
	{name: "update", kind: text},
	{name: "delete", kind: text},
	{name: "triggers", kind: list},
	{name: "stdin", kind: text},
	{name: "environment", kind: textMap},
	{name: "addPreviousOutputInEnv", kind: flagged},
	loggingField,
}

// inputFields are the properties of each resource type.
var inputFields = map[string][]field{
	remoteCommandType: append(slices.Clone(commandFields), field{
		name: "connection", kind: connectionObject, required: true, secret: true,
	}),
	localCommandType: append(
		slices.Clone(commandFields),
		field{name: "dir", kind: text},
		field{name: "interpreter", kind: texts},
		field{name: "assetPaths", kind: texts, unsupported: true},
		field{name: "archivePaths", kind: texts, unsupported: true},
	),
	copyToRemoteType: {
		{name: "connection", kind: connectionObject, required: true, secret: true},
		{name: "source", kind: sourceFile, required: true},
		{name: "remotePath", kind: text, required: true},
		{name: "triggers", kind: list},
	},
}

// checkInputs fills in defaults, marks secrets and lists everything that is wrong. Failures never show a value.
func checkInputs(given resource.PropertyMap, fields []field, path string) (resource.PropertyMap, []*pulumirpc.CheckFailure) {
	checked := resource.PropertyMap{}
	var failures []*pulumirpc.CheckFailure
	fail := func(name, reason string, arguments ...any) {
		failures = append(failures, &pulumirpc.CheckFailure{Property: path + name, Reason: fmt.Sprintf(reason, arguments...)})
	}
	for key := range given {
		known := slices.ContainsFunc(fields, func(f field) bool { return f.name == string(key) })
		if !known && !strings.HasPrefix(string(key), "__") {
			fail(string(key), "there is no property %s%s", path, key)
		}
	}
	for _, f := range fields {
		value, there := given[resource.PropertyKey(f.name)]
		switch {
		case !there || value.IsNull():
			if f.required {
				fail(f.name, "%s%s is missing", path, f.name)
			}
			if f.standard != nil {
				checked[resource.PropertyKey(f.name)] = resource.NewPropertyValue(f.standard)
			}
			continue
		case f.unsupported:
			fail(f.name, "the lab's stand-in for pulumi-command can't do %s", f.name)
			continue
		}
		plain, secret := unwrap(value)
		if !plain.IsComputed() {
			var nested []*pulumirpc.CheckFailure
			var reason string
			if plain, nested, reason = checkValue(plain, f, path); reason != "" {
				fail(f.name, "%s%s %s", path, f.name, reason)
			}
			failures = append(failures, nested...)
		}
		if secret || f.secret {
			plain = resource.MakeSecret(plain)
		}
		checked[resource.PropertyKey(f.name)] = plain
	}
	return checked, failures
}

// checkValue checks one known value, and returns it with the defaults of nested objects filled in.
func checkValue(value resource.PropertyValue, f field, path string) (resource.PropertyValue, []*pulumirpc.CheckFailure, string) {
	switch f.kind {
	case text:
		if !value.IsString() {
			return value, nil, "must be a string"
		}
		if f.oneOf != nil && !slices.Contains(f.oneOf, value.StringValue()) {
			return value, nil, "must be one of " + strings.Join(f.oneOf, ", ")
		}
	case number:
		if !value.IsNumber() {
			return value, nil, "must be a number"
		}
	case flagged:
		if !value.IsBool() {
			return value, nil, "must be a boolean"
		}
	case list:
		if !value.IsArray() {
			return value, nil, "must be a list"
		}
	case texts:
		if !value.IsArray() || !all(value.ArrayValue(), isText) {
			return value, nil, "must be a list of strings"
		}
	case textMap:
		if !value.IsObject() {
			return value, nil, "must be a map of strings"
		}
		for _, item := range value.ObjectValue() {
			if !isText(item) {
				return value, nil, "must be a map of strings"
			}
		}
	case sourceFile:
		return value, nil, checkSource(value)
	case connectionObject, proxyObject:
		if !value.IsObject() {
			return value, nil, "must be an object"
		}
		fields := connectionFields
		if f.kind == proxyObject {
			fields = endpointFields
		}
		object, failures := checkInputs(value.ObjectValue(), fields, path+f.name+".")
		return resource.NewObjectProperty(object), failures, ""
	}
	return value, nil, ""
}

func checkSource(value resource.PropertyValue) string {
	switch {
	case value.IsAsset() && (value.AssetValue().IsPath() || value.AssetValue().IsText()):
		return ""
	case value.IsArchive() && value.ArchiveValue().IsPath():
		return ""
	case value.IsAsset() || value.IsArchive():
		return "must be a FileAsset, a StringAsset or a FileArchive"
	}
	return "must be an asset or an archive"
}

func isText(value resource.PropertyValue) bool {
	plain, _ := unwrap(value)
	return plain.IsString() || plain.IsComputed()
}

func all[T any](items []T, holds func(T) bool) bool {
	return !slices.ContainsFunc(items, func(item T) bool { return !holds(item) })
}

// unwrap takes a value out of its secrets and outputs.
func unwrap(value resource.PropertyValue) (resource.PropertyValue, bool) {
	secret := false
	for {
		switch {
		case value.IsSecret():
			value, secret = value.SecretValue().Element, true
		case value.IsOutput():
			output := value.OutputValue()
			secret = secret || output.Secret
			if !output.Known {
				return resource.MakeComputed(resource.NewStringProperty("")), secret
			}
			value = output.Element
		default:
			return value, secret
		}
	}
}

// The readers below take plain inputs: checked, known, and without secrets around them.

func optionalText(from resource.PropertyMap, name string) (string, bool) {
	value, there := from[resource.PropertyKey(name)]
	if !there || !value.IsString() {
		return "", false
	}
	return value.StringValue(), true
}

func textOr(from resource.PropertyMap, name, otherwise string) string {
	if value, there := optionalText(from, name); there {
		return value
	}
	return otherwise
}

func numberOr(from resource.PropertyMap, name string, otherwise int) int {
	if value, there := from[resource.PropertyKey(name)]; there && value.IsNumber() {
		return int(value.NumberValue())
	}
	return otherwise
}

func textsOf(from resource.PropertyMap, name string) []string {
	value, there := from[resource.PropertyKey(name)]
	if !there || !value.IsArray() {
		return nil
	}
	var items []string
	for _, item := range value.ArrayValue() {
		items = append(items, item.StringValue())
	}
	return items
}

// environmentOf is sorted by name, so that a refusal always names the same variable.
func environmentOf(from resource.PropertyMap) [][2]string {
	value, there := from["environment"]
	if !there || !value.IsObject() {
		return nil
	}
	var pairs [][2]string
	for _, key := range value.ObjectValue().StableKeys() {
		pairs = append(pairs, [2]string{string(key), value.ObjectValue()[key].StringValue()})
	}
	return pairs
}

// previousOutput is what the last run wrote, for the environment of the next one; empty when that is switched off.
func previousOutput(inputs, state resource.PropertyMap) [][2]string {
	if wanted, there := inputs["addPreviousOutputInEnv"]; there && wanted.IsBool() && !wanted.BoolValue() {
		return nil
	}
	var pairs [][2]string
	for _, entry := range [][2]string{{"stdout", "PULUMI_COMMAND_STDOUT"}, {"stderr", "PULUMI_COMMAND_STDERR"}} {
		if value := textOr(state, entry[0], ""); value != "" {
			pairs = append(pairs, [2]string{entry[1], value})
		}
	}
	return pairs
}
