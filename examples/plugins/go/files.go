// SPDX-License-Identifier: Apache-2.0

// The provider "files" in Go: servers are files in a folder, one for each.
//
// What it shows: an instance behind a handle; panics that end at the border; what a plugin does so that the
// engine may die at any instruction: the op id that made or changed a server is written with it, in one step,
// so that a second begin is harmless and observe finds out what became of the first. What the core sees of it
// stands in border.c.
package main

/*
#cgo pkg-config: prvng-1
#cgo CFLAGS: -fvisibility=hidden
#include <stdlib.h>
#include "border.h"
*/
import "C"

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime/cgo"
	"strings"
	"unsafe"
)

type object = map[string]any

// --- answers ---

// failure ends an operation; it is told to the host at the border.
type failure struct {
	class   C.int32_t
	effect  C.uint32_t
	message string
	field   string
}

func (f *failure) Error() string { return f.message }

func noEffect(class C.int32_t, format string, args ...any) error {
	return &failure{class: class, effect: C.PRVNG_EFFECT_NONE, message: fmt.Sprintf(format, args...)}
}

func tell(call *C.struct_prvng_call, err error) C.int32_t {
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{class: C.PRVNG_TRANSIENT, effect: C.PRVNG_EFFECT_UNKNOWN, message: err.Error()}
	}
	message := C.CString(f.message)
	defer C.free(unsafe.Pointer(message))
	var field *C.char
	if f.field != "" {
		field = C.CString(f.field)
		defer C.free(unsafe.Pointer(field))
	}
	C.host_fail(call, f.class, f.effect, message, field)
	return f.class
}

// atBorder: no panic may leave a plugin.
func atBorder(call *C.struct_prvng_call, body func() (C.int32_t, error)) (answer C.int32_t) {
	defer func() {
		if p := recover(); p != nil {
			answer = tell(call, &failure{class: C.PRVNG_INTERNAL, effect: C.PRVNG_EFFECT_UNKNOWN,
				message: fmt.Sprint("a bug of files-go: ", p)})
		}
	}()
	answer, err := body()
	if err != nil {
		return tell(call, err)
	}
	return answer
}

// --- JSON ---

func bytesOf(data unsafe.Pointer, n C.uint64_t) []byte {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(data), int(n)) // valid for this call only
}

// parse gives nil for what is not one JSON object.
func parse(text []byte) object {
	var o object
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if d.Decode(&o) != nil {
		return nil
	}
	if _, err := d.Token(); err != io.EOF {
		return nil
	}
	return o
}

func textOf(o object, key string) string {
	s, _ := o[key].(string)
	return s
}

func specOf(o object) object {
	spec, _ := o["spec"].(object)
	return spec
}

// encode: keys in order, so that the same object gives the same bytes.
func encode(o object) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

func write(sink *C.struct_prvng_sink, o object) error {
	text, err := encode(o)
	if err == nil && C.host_write(sink, unsafe.Pointer(&text[0]), C.uint64_t(len(text))) != 0 {
		err = &failure{class: C.PRVNG_INTERNAL, effect: C.PRVNG_EFFECT_UNKNOWN,
			message: "the answer could not be written"}
	}
	return err
}

// --- the folder ---

// A folder holds a file for each server: the request that made it, "op_id" that made it, and "changed_by", the
// op id that changed it last.
type folder string

func (f folder) file(name string) string { return filepath.Join(string(f), name+".json") }

// read gives nil where there is none.
func (f folder) read(name string) object {
	text, err := os.ReadFile(f.file(name))
	if err != nil {
		return nil
	}
	return parse(text)
}

// write: whole or not at all. A reader never sees half a file, and a crash leaves the old one.
func (f folder) write(name string, o object) error {
	text, err := encode(o)
	if err != nil {
		return err
	}
	temporary := filepath.Join(string(f), "."+name)
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(temporary, f.file(name))
	}
	if err != nil {
		return err
	}
	return f.sync()
}

func (f folder) remove(name string) error {
	if err := os.Remove(f.file(name)); err != nil {
		return err
	}
	return f.sync()
}

func (f folder) sync() error {
	d, err := os.Open(string(f))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (f folder) list(filter object) ([]any, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	all := []any{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") || e.Name()[0] == '.' {
			continue
		}
		o := f.read(strings.TrimSuffix(e.Name(), ".json"))
		if o == nil || !carries(o, filter) {
			continue
		}
		all = append(all, object{"kind": textOf(o, "kind"), "name": textOf(o, "name"),
			"op_id": textOf(o, "op_id"), "workflow": textOf(o, "workflow"),
			"identity": object{"id": textOf(o, "op_id")}})
	}
	return all, nil
}

func carries(o, filter object) bool {
	for _, mark := range []string{"kind", "op_id", "workflow", "site"} {
		if wanted := textOf(filter, mark); wanted != "" && wanted != textOf(o, mark) {
			return false
		}
	}
	return true
}

// --- operations ---

var (
	isName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}$`) // it becomes a file name
	isVerb = regexp.MustCompile(`^(create|update|delete|check)$`)
)

func knownVerb(verb string) error {
	if !isVerb.MatchString(verb) {
		return noEffect(C.PRVNG_UNSUPPORTED, "the verbs are create, update, delete and check")
	}
	return nil
}

func requestOf(text []byte) (object, error) {
	q := parse(text)
	if q["format"] != json.Number("1") || !isName.MatchString(textOf(q, "name")) || specOf(q) == nil {
		return nil, noEffect(C.PRVNG_PERMANENT, "not a request of this plugin")
	}
	return q, nil
}

// resultOf is what the core keeps of a server, and hands to what builds on it.
func resultOf(there object) object {
	r := object{}
	for key, value := range specOf(there) {
		r[key] = value
	}
	r["name"], r["id"], r["state"], r["addresses"] = textOf(there, "name"), textOf(there, "op_id"), "running", []any{}
	return r
}

func asWanted(there, q object) bool {
	return there != nil && reflect.DeepEqual(specOf(there), specOf(q))
}

// goPrepare: the request holds all that begin needs; the core journals it before begin may act.
//
//export goPrepare
func goPrepare(call *C.struct_prvng_call, verb *C.char, task unsafe.Pointer, n C.uint64_t,
	request *C.struct_prvng_sink) C.int32_t {
	return atBorder(call, func() (C.int32_t, error) {
		if err := knownVerb(C.GoString(verb)); err != nil {
			return 0, err
		}
		o := parse(bytesOf(task, n))
		if !isName.MatchString(textOf(o, "name")) {
			return 0, &failure{C.PRVNG_PERMANENT, C.PRVNG_EFFECT_NONE,
				"a server's name has up to 200 of A-Z a-z 0-9 - _ .", "name"}
		}
		if specOf(o) == nil {
			return 0, &failure{C.PRVNG_PERMANENT, C.PRVNG_EFFECT_NONE, "a task has a spec", "spec"}
		}
		q := object{"format": 1}
		for _, key := range []string{"kind", "name", "workflow", "site", "spec"} {
			if value, ok := o[key]; ok {
				q[key] = value
			}
		}
		return C.PRVNG_DONE, write(request, q)
	})
}

func check(there, q object, result *C.struct_prvng_sink) (C.int32_t, error) {
	if asWanted(there, q) {
		return C.PRVNG_UNCHANGED, write(result, resultOf(there))
	}
	drift := []any{}
	if there == nil {
		drift = append(drift, object{"attribute": "state", "wanted": "present", "found": "absent"})
	} else {
		for key, wanted := range specOf(q) {
			if found := specOf(there)[key]; !reflect.DeepEqual(found, wanted) {
				drift = append(drift, object{"attribute": key, "wanted": wanted, "found": found})
			}
		}
		for key, found := range specOf(there) {
			if _, ok := specOf(q)[key]; !ok {
				drift = append(drift, object{"attribute": key, "wanted": nil, "found": found})
			}
		}
	}
	return C.PRVNG_DONE, write(result, object{"drift": drift})
}

func remove(f folder, there, q object, result *C.struct_prvng_sink) (C.int32_t, error) {
	if there == nil {
		return C.PRVNG_UNCHANGED, write(result, object{})
	}
	if err := f.remove(textOf(q, "name")); err != nil {
		return 0, err
	}
	return C.PRVNG_DONE, write(result, object{})
}

func makeServer(f folder, opID string, isCreate bool, there, q object, result *C.struct_prvng_sink) (C.int32_t, error) {
	name := textOf(q, "name")
	switch {
	case asWanted(there, q):
		if textOf(there, "changed_by") == opID {
			return C.PRVNG_DONE, write(result, resultOf(there))
		}
		return C.PRVNG_UNCHANGED, write(result, resultOf(there))
	case there != nil && isCreate:
		return 0, noEffect(C.PRVNG_CONFLICT, "there is another server named %s", name)
	case there == nil && !isCreate:
		return 0, noEffect(C.PRVNG_NOT_FOUND, "there is no server named %s", name)
	}
	q["op_id"], q["changed_by"] = opID, opID
	if there != nil {
		q["op_id"] = textOf(there, "op_id")
	}
	if err := f.write(name, q); err != nil {
		return 0, err
	}
	return C.PRVNG_DONE, write(result, resultOf(q))
}

// goBegin acts. What takes longer than a second would be PENDING: a token, and an answer to poll.
//
//export goBegin
func goBegin(instance C.uintptr_t, call *C.struct_prvng_call, verb *C.char, request unsafe.Pointer, n C.uint64_t,
	result *C.struct_prvng_sink) C.int32_t {
	return atBorder(call, func() (C.int32_t, error) {
		f := cgo.Handle(instance).Value().(folder)
		v := C.GoString(verb)
		q, err := requestOf(bytesOf(request, n))
		if err == nil {
			err = knownVerb(v)
		}
		if err != nil {
			return 0, err
		}
		if C.host_is_cancelled(call) != 0 {
			return 0, noEffect(C.PRVNG_CANCELLED, "cancelled before anything was done")
		}
		there := f.read(textOf(q, "name"))
		switch v {
		case "check":
			return check(there, q, result)
		case "delete":
			return remove(f, there, q, result)
		}
		return makeServer(f, C.GoString(call.op_id), v == "create", there, q, result)
	})
}

// goObserve: what became of this op id? Asked after a crash, before anything is begun again.
//
//export goObserve
func goObserve(instance C.uintptr_t, call *C.struct_prvng_call, verb *C.char, request unsafe.Pointer, n C.uint64_t,
	result *C.struct_prvng_sink) C.int32_t {
	return atBorder(call, func() (C.int32_t, error) {
		v := C.GoString(verb)
		q, err := requestOf(bytesOf(request, n))
		if err == nil {
			err = knownVerb(v)
		}
		if err != nil {
			return 0, err
		}
		there := cgo.Handle(instance).Value().(folder).read(textOf(q, "name"))
		switch {
		case v == "delete" && there == nil:
			return C.PRVNG_OBSERVED_DONE, write(result, object{})
		case (v == "create" || v == "update") && there != nil && textOf(there, "changed_by") == C.GoString(call.op_id):
			return C.PRVNG_OBSERVED_DONE, write(result, resultOf(there))
		}
		return C.PRVNG_OBSERVED_NOT_STARTED, nil
	})
}

//export goRead
func goRead(instance C.uintptr_t, call *C.struct_prvng_call, task unsafe.Pointer, n C.uint64_t,
	result *C.struct_prvng_sink) C.int32_t {
	return atBorder(call, func() (C.int32_t, error) {
		name := textOf(parse(bytesOf(task, n)), "name")
		var there object
		if isName.MatchString(name) {
			there = cgo.Handle(instance).Value().(folder).read(name)
		}
		if there == nil {
			return 0, noEffect(C.PRVNG_NOT_FOUND, "there is no server named %q", name)
		}
		return C.PRVNG_DONE, write(result, resultOf(there))
	})
}

// goList: all that carries our marks. So orphans and surplus are found.
//
//export goList
func goList(instance C.uintptr_t, call *C.struct_prvng_call, filter unsafe.Pointer, n C.uint64_t,
	result *C.struct_prvng_sink) C.int32_t {
	return atBorder(call, func() (C.int32_t, error) {
		all, err := cgo.Handle(instance).Value().(folder).list(parse(bytesOf(filter, n)))
		if err != nil {
			return 0, err
		}
		return C.PRVNG_DONE, write(result, object{"resources": all})
	})
}

// --- instances ---

//export goCreate
func goCreate(host *C.struct_prvng_host, config unsafe.Pointer, n C.uint64_t, retHandle *C.uintptr_t) C.int32_t {
	path := textOf(parse(bytesOf(config, n)), "folder")
	problem := ""
	if !filepath.IsAbs(path) {
		problem = "files-go: set config.folder to an absolute path"
	} else if err := os.MkdirAll(path, 0o700); err != nil {
		problem = "files-go: " + err.Error()
	}
	if problem != "" {
		topic, text := C.CString("config"), C.CString(problem)
		C.host_log(host, C.PRVNG_LOG_ERROR, topic, text)
		C.free(unsafe.Pointer(topic))
		C.free(unsafe.Pointer(text))
		return C.PRVNG_PERMANENT
	}
	*retHandle = C.uintptr_t(cgo.NewHandle(folder(path)))
	return C.PRVNG_DONE
}

//export goDestroy
func goDestroy(instance C.uintptr_t) { cgo.Handle(instance).Delete() }

func main() {} // c-shared wants one; it never runs
