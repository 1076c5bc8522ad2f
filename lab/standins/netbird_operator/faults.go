package main

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// faultsName is the ConfigMap, in the operator's namespace, with what the operator does rarely and the stand-in does when
// asked. It is read anew for each reconcile. Its keys:
//
//	reconcile-delay  a duration: so much later each reconcile begins
//	status-delay     a duration: so much later the status names what was made in NetBird
//	reconcile-twice  "true": each reconcile is followed by one that has a stale cache, and sees what the first one saw
//	exit-at          one of the moments below: the operator ends there, once, and the key is gone then
const faultsName = "stand-in-faults"

// The moments between two steps at which the operator can end. Each leaves something that it does not know of, or does not
// say, when it comes back.
const (
	networkMade   = "network-made"   // in NetBird, and not in the router's status
	keyMade       = "key-made"       // in NetBird, and not in the SetupKey's status
	secretWritten = "secret-written" // all is there but the condition Ready
)

// askedFaults reads and obeys the ConfigMap. Without a client there are none.
type askedFaults struct {
	client.Client
	reader    client.Reader
	namespace string
	exit      func()
}

func newFaults(writer client.Client, uncached client.Reader, namespace string) askedFaults {
	return askedFaults{writer, uncached, namespace, func() { os.Exit(1) }}
}

func (f *askedFaults) asked(ctx context.Context) (*corev1.ConfigMap, error) {
	found := &corev1.ConfigMap{}
	if f.reader == nil {
		return found, nil
	}
	err := f.reader.Get(ctx, types.NamespacedName{Namespace: f.namespace, Name: faultsName}, found)
	return found, client.IgnoreNotFound(err)
}

// begin waits before a reconcile, and tells whether there has to be a second one.
func (f *askedFaults) begin(ctx context.Context) (bool, error) {
	asked, err := f.asked(ctx)
	if err != nil {
		return false, err
	}
	return asked.Data["reconcile-twice"] == "true", pause(ctx, asked.Data["reconcile-delay"])
}

// pass is called between what was made and the note of it.
func (f *askedFaults) pass(ctx context.Context, moment string) error {
	asked, err := f.asked(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, asked.Data["status-delay"]); err != nil {
		return err
	}
	if asked.Data["exit-at"] != moment {
		return nil
	}
	delete(asked.Data, "exit-at")
	if err := f.Update(ctx, asked); err != nil {
		return err
	}
	f.exit()
	return nil
}

func pause(ctx context.Context, text string) error {
	if text == "" {
		return nil
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("ConfigMap %s: %w", faultsName, err)
	}
	select {
	case <-time.After(length):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
