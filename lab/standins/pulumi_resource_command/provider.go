package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	remoteCommandType = "command:remote:Command"
	copyToRemoteType  = "command:remote:CopyToRemote"
	localCommandType  = "command:local:Command"
)

//go:embed schema.json
var schema string

var errCancelled = errors.New("cancelled")

// provider speaks the engine's protocol. It has no state but the switch that ends everything that runs.
type provider struct {
	pulumirpc.UnimplementedResourceProviderServer
	logs   logger
	alive  context.Context
	cancel context.CancelCauseFunc
}

func newProvider(ctx context.Context, logs logger) *provider {
	alive, cancel := context.WithCancelCause(ctx)
	return &provider{logs: logs, alive: alive, cancel: cancel}
}

// operation is the context of one operation: it ends with the call, on Cancel, and after the resource's custom timeout. What
// looks at it is the pause between two dials, and a local command; nothing on a server does.
func (p *provider) operation(call context.Context, timeoutSeconds float64) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(call)
	stop := context.AfterFunc(p.alive, func() { cancel(context.Cause(p.alive)) })
	release := func() { stop(); cancel(nil) }
	if timeoutSeconds > 0 {
		timeout := time.Duration(timeoutSeconds * float64(time.Second))
		limited, end := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done within %s", timeout))
		return limited, func() { end(); release() }
	}
	return ctx, release
}

func (p *provider) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	p.cancel(errCancelled)
	return &emptypb.Empty{}, nil
}

func (p *provider) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version}, nil
}

func (p *provider) GetSchema(context.Context, *pulumirpc.GetSchemaRequest) (*pulumirpc.GetSchemaResponse, error) {
	return &pulumirpc.GetSchemaResponse{Schema: schema}, nil
}

// Attach is for a plugin that was started by hand: it has no engine to send messages to until one says where it is. The
// engine's address only matters for messages, so they stay away.
func (p *provider) Attach(context.Context, *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// The provider has no settings of its own.

func (p *provider) CheckConfig(_ context.Context, request *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: request.GetNews()}, nil
}

func (p *provider) DiffConfig(context.Context, *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}, nil
}

func (p *provider) Configure(context.Context, *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	return &pulumirpc.ConfigureResponse{AcceptSecrets: true, SupportsPreview: true}, nil
}

func (p *provider) Invoke(_ context.Context, request *pulumirpc.InvokeRequest) (*pulumirpc.InvokeResponse, error) {
	return nil, status.Errorf(codes.Unimplemented, "the lab's stand-in for pulumi-command has no function %s", request.GetTok())
}

func (p *provider) Check(_ context.Context, request *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	fields, err := fieldsOf(request.GetUrn())
	if err != nil {
		return nil, err
	}
	given, err := unmarshal(request.GetNews(), true)
	if err != nil {
		return nil, err
	}
	inputs, failures := checkInputs(given, fields, "")
	slices.SortFunc(failures, func(a, b *pulumirpc.CheckFailure) int { return strings.Compare(a.Property, b.Property) })
	properties, err := marshal(inputs)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CheckResponse{Inputs: properties, Failures: failures}, nil
}

// Diff compares values alone: whether one is a secret does not change what a command does. Every change is an update, that
// of triggers too: it is the SDK's class that asks the engine for a replacement (replaceOnChanges).
func (p *provider) Diff(_ context.Context, request *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	if _, err := fieldsOf(request.GetUrn()); err != nil {
		return nil, err
	}
	olds, err := unmarshal(request.GetOldInputs(), false)
	if err != nil {
		return nil, err
	}
	news, err := unmarshal(request.GetNews(), false)
	if err != nil {
		return nil, err
	}
	internal := func(key resource.PropertyKey) bool { return strings.HasPrefix(string(key), "__") }
	difference := olds.Diff(news, internal)
	response := &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE, HasDetailedDiff: true}
	if difference == nil {
		return response, nil
	}
	response.Changes = pulumirpc.DiffResponse_DIFF_SOME
	for _, key := range difference.ChangedKeys() {
		response.Diffs = append(response.Diffs, string(key))
	}
	response.DetailedDiff = map[string]*pulumirpc.PropertyDiff{}
	for where, change := range plugin.NewDetailedDiffFromObjectDiff(difference, true) {
		response.DetailedDiff[where] = &pulumirpc.PropertyDiff{
			Kind: pulumirpc.PropertyDiff_Kind(change.Kind), InputDiff: true, //nolint:gosec // the two enumerations are the same
		}
	}
	return response, nil
}

func (p *provider) Create(call context.Context, request *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	inputs, err := unmarshal(request.GetProperties(), true)
	if err != nil {
		return nil, err
	}
	urn := resource.URN(request.GetUrn())
	id, err := newID(urn)
	if err != nil {
		return nil, err
	}
	state := inputs.Copy()
	switch {
	case string(urn.Type()) == copyToRemoteType:
		if !request.GetPreview() {
			ctx, release := p.operation(call, request.GetTimeout())
			defer release()
			err = copyToRemote(ctx, plain(inputs), p.logs, request.GetUrn())
		}
	default:
		command, there := optionalText(plain(inputs), "create")
		switch {
		case request.GetPreview():
			setUnknownOutputs(state)
		case !there:
			setOutputs(state, output{})
		default:
			ctx, release := p.operation(call, request.GetTimeout())
			defer release()
			var result output
			result, err = p.run(ctx, urn, command, plain(inputs), nil)
			setOutputs(state, result)
		}
	}
	properties, err := wire(state, err)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CreateResponse{Id: id, Properties: properties}, nil
}

func (p *provider) Update(call context.Context, request *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	olds, err := unmarshal(request.GetOlds(), true)
	if err != nil {
		return nil, err
	}
	inputs, err := unmarshal(request.GetNews(), true)
	if err != nil {
		return nil, err
	}
	urn := resource.URN(request.GetUrn())
	ctx, release := p.operation(call, request.GetTimeout())
	defer release()
	state := inputs.Copy()
	before, now := plain(olds), plain(inputs)
	if string(urn.Type()) == copyToRemoteType {
		// As in the real plugin, a new connection alone copies nothing: the file is where it was.
		changed := !before["source"].DeepEquals(now["source"]) || !before["remotePath"].DeepEquals(now["remotePath"])
		if changed && !request.GetPreview() {
			err = copyToRemote(ctx, now, p.logs, request.GetUrn())
		}
	} else {
		command, there := optionalText(now, "update")
		if !there {
			command, there = optionalText(now, "create")
		}
		switch {
		case request.GetPreview() && (there || inputs.ContainsUnknowns()):
			setUnknownOutputs(state)
		case !there:
			setOutputs(state, output{stdout: textOr(before, "stdout", ""), stderr: textOr(before, "stderr", "")})
		default:
			var result output
			result, err = p.run(ctx, urn, command, now, before)
			setOutputs(state, result)
		}
	}
	properties, err := wire(state, err)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.UpdateResponse{Properties: properties}, nil
}

// Read has nothing to look at: what a command did is not to be seen from here.
func (p *provider) Read(_ context.Context, request *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	return &pulumirpc.ReadResponse{
		Id: request.GetId(), Properties: request.GetProperties(), Inputs: request.GetInputs(),
	}, nil
}

func (p *provider) Delete(call context.Context, request *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	stored, err := unmarshal(request.GetProperties(), false)
	if err != nil {
		return nil, err
	}
	urn := resource.URN(request.GetUrn())
	command, there := optionalText(stored, "delete")
	if there && string(urn.Type()) != copyToRemoteType {
		ctx, release := p.operation(call, request.GetTimeout())
		defer release()
		if _, err := p.run(ctx, urn, command, stored, stored); err != nil {
			return nil, err
		}
	}
	return &emptypb.Empty{}, nil
}

func (p *provider) run(
	ctx context.Context, urn resource.URN, command string, inputs, state resource.PropertyMap,
) (output, error) {
	if string(urn.Type()) == localCommandType {
		return runLocal(ctx, command, inputs, state, p.logs, string(urn))
	}
	return runRemote(ctx, command, inputs, state, p.logs, string(urn))
}

// newID is not made of anything that could change; a command's begins with its name, as the real plugin's.
func newID(urn resource.URN) (string, error) {
	switch string(urn.Type()) {
	case copyToRemoteType:
		return resource.NewUniqueHex("", 8, 0)
	default:
		return resource.NewUniqueHex(urn.Name(), 8, 0)
	}
}

func fieldsOf(urn string) ([]field, error) {
	fields, known := inputFields[string(resource.URN(urn).Type())]
	if !known {
		return nil, status.Errorf(
			codes.Unimplemented, "the lab's stand-in for pulumi-command has no resource %s", resource.URN(urn).Type(),
		)
	}
	return fields, nil
}

// setOutputs adds a run's output to the inputs, in plain whatever the inputs were: who knows better has to ask the engine for
// additionalSecretOutputs.
func setOutputs(state resource.PropertyMap, result output) {
	state["stdout"] = resource.NewStringProperty(result.stdout)
	state["stderr"] = resource.NewStringProperty(result.stderr)
}

func setUnknownOutputs(state resource.PropertyMap) {
	for _, name := range []resource.PropertyKey{"stdout", "stderr"} {
		state[name] = resource.MakeComputed(resource.NewStringProperty(""))
	}
}

// plain takes the secrets off, to work with the values.
func plain(properties resource.PropertyMap) resource.PropertyMap {
	bare := resource.PropertyMap{}
	for key, value := range properties {
		bare[key] = plainValue(value)
	}
	return bare
}

func plainValue(value resource.PropertyValue) resource.PropertyValue {
	value, _ = unwrap(value)
	switch {
	case value.IsArray():
		items := make([]resource.PropertyValue, 0, len(value.ArrayValue()))
		for _, item := range value.ArrayValue() {
			items = append(items, plainValue(item))
		}
		return resource.NewArrayProperty(items)
	case value.IsObject():
		return resource.NewObjectProperty(plain(value.ObjectValue()))
	}
	return value
}

func unmarshal(properties *structpb.Struct, secrets bool) (resource.PropertyMap, error) {
	return plugin.UnmarshalProperties(properties, plugin.MarshalOptions{
		KeepUnknowns: true, KeepSecrets: secrets, SkipNulls: true, ComputeAssetHashes: true,
	})
}

// wire is the state as the engine takes it, or what kept it from coming about.
func wire(state resource.PropertyMap, failed error) (*structpb.Struct, error) {
	if failed != nil {
		return nil, failed
	}
	return marshal(state)
}

func marshal(properties resource.PropertyMap) (*structpb.Struct, error) {
	return plugin.MarshalProperties(properties, plugin.MarshalOptions{
		KeepUnknowns: true, KeepSecrets: true, SkipNulls: true, ComputeAssetHashes: true,
	})
}
