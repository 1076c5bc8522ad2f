package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pkg/sftp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// copyToRemote puts the source where the inputs say. Archives are copied as the files or directories that they are.
func copyToRemote(ctx context.Context, inputs resource.PropertyMap, logs logger, urn string) error {
	show := func(message string) { logs.status(ctx, urn, message) }
	client, closeClient, err := connectionOf(inputs).dial(ctx, show)
	if err != nil {
		return err
	}
	defer closeClient()
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	files, err := sftp.NewClient(client)
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	defer files.Close()

	remote := remoteFiles{files}
	target := textOr(inputs, "remotePath", "")
	source := inputs["source"]
	switch {
	case source.IsAsset() && source.AssetValue().IsText():
		err = remote.putText(source.AssetValue().Text, target)
	case source.IsAsset():
		err = remote.put(source.AssetValue().Path, target)
	default:
		err = remote.put(source.ArchiveValue().Path, target)
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// remoteFiles are the files of the server.
type remoteFiles struct{ *sftp.Client }

// put copies a file or a directory. Where it goes depends on what is there, as with cp: into an existing directory, over an
// existing file, and a directory whose path ends in a slash gives its content.
func (r remoteFiles) put(source, target string) error {
	local, err := os.Stat(source)
	if err != nil {
		return err
	}
	there, err := r.stat(target)
	if err != nil {
		return err
	}
	if !local.IsDir() {
		if there != nil && there.IsDir() {
			target = path.Join(target, filepath.Base(source))
		}
		return r.putFile(source, target)
	}
	if there != nil && !there.IsDir() {
		return fmt.Errorf("remote path %s exists but is not a directory", target)
	}
	if !strings.HasSuffix(source, "/") {
		target = path.Join(target, filepath.Base(source))
	}
	return fs.WalkDir(os.DirFS(source), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if err := r.MkdirAll(path.Join(target, name)); err != nil {
				return fmt.Errorf("failed to create remote directory %s: %w", path.Join(target, name), err)
			}
			return nil
		}
		return r.putFile(filepath.Join(source, name), path.Join(target, name))
	})
}

func (r remoteFiles) putFile(source, target string) error {
	content, err := os.Open(source)
	if err != nil {
		return err
	}
	defer content.Close()
	return r.write(content, target)
}

func (r remoteFiles) putText(content, target string) error {
	there, err := r.stat(target)
	if err != nil {
		return err
	}
	if there != nil && there.IsDir() {
		return fmt.Errorf("remote path %s is a directory; a text needs the path of a file", target)
	}
	return r.write(strings.NewReader(content), target)
}

// write makes the parent directories and writes, over an existing file. A file keeps the mode it has, a new one gets the
// server's default: what has to be private needs a directory that is.
func (r remoteFiles) write(content io.Reader, target string) error {
	if err := r.MkdirAll(path.Dir(target)); err != nil {
		return fmt.Errorf("failed to create parent directories for %s: %w", target, err)
	}
	file, err := r.Create(target)
	if err != nil {
		return fmt.Errorf("failed to create remote file %s: %w", target, err)
	}
	_, err = file.ReadFrom(content)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("failed to write remote file %s: %w", target, err)
	}
	return nil
}

// stat is nil without an error when nothing is there.
func (r remoteFiles) stat(name string) (fs.FileInfo, error) {
	info, err := r.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to stat remote path %s: %w", name, err)
	}
	return info, nil
}
