// SPDX-License-Identifier: Apache-2.0

//! The provider "files" in Rust: servers are files in a folder, one for each.
//!
//! What it shows: an instance as a Box; panics that end at the border; what a plugin does so that the engine may
//! die at any instruction: the op id that made or changed a server is written with it, in one step, so that a
//! second begin() is harmless and observe() finds out what became of the first.

mod abi;
mod folder;
mod json;

use abi::*;
use folder::Folder;
use json::{encode, parse, text, text_of, Object, Value};
use std::ffi::{CStr, CString};
use std::mem::size_of;
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Given by the entry, valid for ever.
static HOST: AtomicPtr<Host> = AtomicPtr::new(null_mut());

fn host() -> &'static Host {
    unsafe { &*HOST.load(Ordering::Relaxed) }
}

/* --- answers --- */

/// Ends an operation; is told to the host at the border.
struct Failure {
    class: i32,
    effect: u32,
    message: String,
    field: Option<&'static str>,
}

type Answer = Result<i32, Failure>;

fn no_effect(class: i32, message: &str) -> Failure {
    Failure { class, effect: EFFECT_NONE, message: message.to_string(), field: None }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        Failure { class: TRANSIENT, effect: EFFECT_UNKNOWN, message: e.to_string(), field: None }
    }
}

fn c_text(s: &str) -> CString {
    CString::new(s.replace('\0', " ")).unwrap_or_default()
}

fn tell(call: *mut Call, f: &Failure) -> i32 {
    let (message, field) = (c_text(&f.message), f.field.map(c_text));
    let e = Error {
        struct_size: size_of::<Error>() as u32,
        reserved: 0,
        error_class: f.class,
        code: 0,
        retry_after_ms: -1,
        effect: f.effect,
        status: 0,
        message: message.as_ptr(),
        field: field.as_ref().map_or(null(), |f| f.as_ptr()),
    };
    (host().error)(call, &e);
    f.class
}

/// No panic may leave a plugin: what calls it is C.
fn at_border(call: *mut Call, body: impl FnOnce() -> Answer) -> i32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(answer)) => answer,
        Ok(Err(f)) => tell(call, &f),
        Err(_) => tell(
            call,
            &Failure { class: INTERNAL, effect: EFFECT_UNKNOWN, message: "a bug of files-rust".to_string(), field: None },
        ),
    }
}

fn write_bytes(sink: *mut Sink, bytes: &[u8]) -> Result<(), Failure> {
    match (host().sink_write)(sink, bytes.as_ptr().cast(), bytes.len() as u64) {
        0 => Ok(()),
        _ => Err(Failure {
            class: INTERNAL,
            effect: EFFECT_UNKNOWN,
            message: "the answer could not be written".to_string(),
            field: None,
        }),
    }
}

fn write(sink: *mut Sink, o: &Object) -> Result<(), Failure> {
    write_bytes(sink, encode(o).as_bytes())
}

/* --- what crosses the border --- */

/// Valid for the call only.
fn bytes<'a>(data: *const c_void, n: u64) -> &'a [u8] {
    match n {
        0 => &[],
        _ => unsafe { std::slice::from_raw_parts(data.cast(), n as usize) },
    }
}

fn word<'a>(s: *const c_char) -> &'a str {
    unsafe { CStr::from_ptr(s) }.to_str().unwrap_or("")
}

fn folder_of<'a>(instance: *mut c_void) -> &'a Folder {
    unsafe { &*instance.cast::<Folder>() }
}

/* --- operations --- */

/// A name becomes a file name.
fn is_name(s: &str) -> bool {
    !s.is_empty()
        && s.len() <= 200
        && !s.starts_with('.')
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn known_verb(verb: &str) -> Result<(), Failure> {
    match verb {
        "create" | "update" | "delete" | "check" => Ok(()),
        _ => Err(no_effect(UNSUPPORTED, "the verbs are create, update, delete and check")),
    }
}

fn spec_of(o: &Object) -> Option<&Object> {
    match o.get("spec") {
        Some(Value::Object(spec)) => Some(spec),
        _ => None,
    }
}

fn request_of(request: &[u8]) -> Result<Object, Failure> {
    parse(request)
        .filter(|q| {
            q.get("format") == Some(&Value::Number("1".to_string()))
                && is_name(text_of(q, "name"))
                && spec_of(q).is_some()
        })
        .ok_or_else(|| no_effect(PERMANENT, "not a request of this plugin"))
}

/// What the core keeps of a server, and hands to what builds on it.
fn result_of(there: &Object) -> Object {
    let mut r = spec_of(there).cloned().unwrap_or_default();
    r.insert("name".to_string(), text(text_of(there, "name")));
    r.insert("id".to_string(), text(text_of(there, "op_id")));
    r.insert("state".to_string(), text("running"));
    r.insert("addresses".to_string(), Value::Array(Vec::new()));
    r
}

/// The request holds all that begin() needs; the core journals it before begin() may act.
extern "C" fn prepare(
    _: *mut c_void,
    call: *mut Call,
    verb: *const c_char,
    task: *const c_void,
    n: u64,
    request: *mut Sink,
) -> i32 {
    at_border(call, || {
        let o = parse(bytes(task, n)).unwrap_or_default();
        let mut q = Object::from([("format".to_string(), Value::Number("1".to_string()))]);
        known_verb(word(verb))?;
        if !is_name(text_of(&o, "name")) {
            return Err(Failure {
                field: Some("name"),
                ..no_effect(PERMANENT, "a server's name has up to 200 of A-Z a-z 0-9 - _ .")
            });
        }
        if spec_of(&o).is_none() {
            return Err(Failure { field: Some("spec"), ..no_effect(PERMANENT, "a task has a spec") });
        }
        for key in ["kind", "name", "workflow", "site", "spec"] {
            if let Some(value) = o.get(key) {
                q.insert(key.to_string(), value.clone());
            }
        }
        write(request, &q)?;
        Ok(DONE)
    })
}

fn drift(attribute: &str, wanted: Value, found: Value) -> Value {
    Value::Object(Object::from([
        ("attribute".to_string(), text(attribute)),
        ("wanted".to_string(), wanted),
        ("found".to_string(), found),
    ]))
}

fn check(there: Option<&Object>, q: &Object, result: *mut Sink) -> Answer {
    let none = Object::new();
    let mut all = Vec::new();
    match there {
        Some(there) if spec_of(there) == spec_of(q) => {
            write(result, &result_of(there))?;
            return Ok(UNCHANGED);
        }
        Some(there) => {
            let (found, wanted) = (spec_of(there).unwrap_or(&none), spec_of(q).unwrap_or(&none));
            let mut keys: Vec<&String> = found.keys().chain(wanted.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys.into_iter().filter(|key| found.get(*key) != wanted.get(*key)) {
                let value = |o: &Object| o.get(key).cloned().unwrap_or(Value::Null);
                all.push(drift(key, value(wanted), value(found)));
            }
        }
        None => all.push(drift("state", text("present"), text("absent"))),
    }
    write(result, &Object::from([("drift".to_string(), Value::Array(all))]))?;
    Ok(DONE)
}

fn remove(folder: &Folder, there: Option<&Object>, q: &Object, result: *mut Sink) -> Answer {
    if there.is_some() {
        folder.remove(text_of(q, "name"))?;
    }
    write(result, &Object::new())?;
    Ok(if there.is_some() { DONE } else { UNCHANGED })
}

fn make(folder: &Folder, op_id: &str, create: bool, there: Option<&Object>, mut q: Object, result: *mut Sink) -> Answer {
    let name = text_of(&q, "name").to_string();
    let maker = match there {
        Some(there) if spec_of(there) == spec_of(&q) => {
            write(result, &result_of(there))?;
            return Ok(if text_of(there, "changed_by") == op_id { DONE } else { UNCHANGED });
        }
        Some(_) if create => return Err(no_effect(CONFLICT, &format!("there is another server named {}", name))),
        Some(there) => text_of(there, "op_id"),
        None if create => op_id,
        None => return Err(no_effect(NOT_FOUND, &format!("there is no server named {}", name))),
    };
    q.insert("op_id".to_string(), text(maker));
    q.insert("changed_by".to_string(), text(op_id));
    folder.write(&name, &q)?;
    write(result, &result_of(&q))?;
    Ok(DONE)
}

/// Acts. What takes longer than a second would be PENDING: a token, and an answer to poll().
extern "C" fn begin(
    instance: *mut c_void,
    call: *mut Call,
    verb: *const c_char,
    request: *const c_void,
    n: u64,
    _: *mut Sink,
    result: *mut Sink,
) -> i32 {
    at_border(call, || {
        let q = request_of(bytes(request, n))?;
        known_verb(word(verb))?;
        if (host().is_cancelled)(call) != 0 {
            return Err(no_effect(CANCELLED, "cancelled before anything was done"));
        }
        let folder = folder_of(instance);
        let there = folder.read(text_of(&q, "name"));
        match word(verb) {
            "check" => check(there.as_ref(), &q, result),
            "delete" => remove(folder, there.as_ref(), &q, result),
            verb => make(folder, word(unsafe { (*call).op_id }), verb == "create", there.as_ref(), q, result),
        }
    })
}

/// What became of this op id? Asked after a crash, before anything is begun again.
extern "C" fn observe(
    instance: *mut c_void,
    call: *mut Call,
    verb: *const c_char,
    request: *const c_void,
    n: u64,
    _: *const c_void,
    _: u64,
    _: *mut Sink,
    result: *mut Sink,
) -> i32 {
    at_border(call, || {
        let q = request_of(bytes(request, n))?;
        known_verb(word(verb))?;
        let found = match (word(verb), folder_of(instance).read(text_of(&q, "name"))) {
            ("delete", None) => Object::new(),
            ("create" | "update", Some(there))
                if text_of(&there, "changed_by") == word(unsafe { (*call).op_id }) =>
            {
                result_of(&there)
            }
            _ => return Ok(OBSERVED_NOT_STARTED),
        };
        write(result, &found)?;
        Ok(OBSERVED_DONE)
    })
}

extern "C" fn read_state(
    instance: *mut c_void,
    call: *mut Call,
    task: *const c_void,
    n: u64,
    result: *mut Sink,
) -> i32 {
    at_border(call, || {
        let o = parse(bytes(task, n)).unwrap_or_default();
        let name = text_of(&o, "name");
        let there = if is_name(name) { folder_of(instance).read(name) } else { None };
        let there = there.ok_or_else(|| no_effect(NOT_FOUND, &format!("there is no server named {:?}", name)))?;
        write(result, &result_of(&there))?;
        Ok(DONE)
    })
}

/// All that carries our marks: how orphans and surplus are found.
extern "C" fn list(instance: *mut c_void, call: *mut Call, filter: *const c_void, n: u64, result: *mut Sink) -> i32 {
    at_border(call, || {
        let all = folder_of(instance).list(&parse(bytes(filter, n)).unwrap_or_default())?;
        write(result, &Object::from([("resources".to_string(), Value::Array(all))]))?;
        Ok(DONE)
    })
}

extern "C" fn describe(_: *mut c_void, result: *mut Sink) -> i32 {
    let text = br#"{"resources": [{"kind": "server", "verbs": ["create", "update", "delete", "check"],
 "undo": ["create", "update"], "spec": {"type": "object"}, "update": {"cpu": "live", "memory": "live"}}]}"#;
    write_bytes(result, text).map_or(INTERNAL, |_| DONE)
}

/* --- instances --- */

fn open(config: &[u8]) -> Result<Folder, String> {
    let o = parse(config).unwrap_or_default();
    match text_of(&o, "folder") {
        path if path.starts_with('/') => Folder::new(path).map_err(|e| format!("files-rust: {}: {}", path, e)),
        _ => Err("files-rust: set config.folder to an absolute path".to_string()),
    }
}

extern "C" fn create(host: *const Host, config: *const c_void, n: u64, ret_instance: *mut *mut c_void) -> i32 {
    match catch_unwind(|| open(bytes(config, n))) {
        Ok(Ok(folder)) => {
            unsafe { *ret_instance = Box::into_raw(Box::new(folder)).cast() };
            DONE
        }
        failed => {
            let why = failed.map_or("a bug of files-rust".to_string(), |r| r.err().unwrap_or_default());
            unsafe { ((*host).log)(host, LOG_ERROR, c_text("config").as_ptr(), c_text(&why).as_ptr()) };
            PERMANENT
        }
    }
}

extern "C" fn destroy(instance: *mut c_void) {
    if !instance.is_null() {
        drop(unsafe { Box::from_raw(instance.cast::<Folder>()) });
    }
}

static OP: Constant<Op> = Constant(Op {
    struct_size: size_of::<Op>() as u32,
    reserved: 0,
    prepare,
    begin,
    poll: null(),
    cancel: null(),
    observe,
    read: read_state,
    list,
    describe,
});

extern "C" fn get_interface(_: *mut c_void, id: *const c_char) -> *const c_void {
    match word(id) {
        "prvng.op/1" | "prvng.provider/1" => (&OP.0 as *const Op).cast(),
        _ => null(),
    }
}

/* --- how it presents itself --- */

/// A constant text as C has it.
macro_rules! c {
    ($s:expr) => {
        concat!($s, "\0").as_ptr().cast::<c_char>()
    };
}

static PLUGIN: Constant<Plugin> = Constant(Plugin {
    struct_size: size_of::<Plugin>() as u32,
    reserved: 0,
    abi_minor: ABI_MINOR,
    min_host_minor: 0,
    id: c!("org.example.prvng.files-rust"),
    name: c!("files-rust"),
    kind: c!("provider"),
    version: c!("0.1.0"),
    description: c!("Servers that are files; an example in Rust"),
    licence: c!("Apache-2.0"),
    threads: THREADS_PARALLEL, /* an instance is never changed, and every server has its own file */
    flags: 0,
    settle_ms: 0,
    dependencies: c!(
        "{\"requires_network\": false, \"network_before_servers\": false, \"shared_resources\": [],
 \"api_rate_limit\": 0, \"batch_size\": 8}"
    ),
    create,
    destroy,
    get_interface,
    self_test: null(),
});

const NOTE_JSON: &str = "{\"abi\":\"1.0\",\"kind\":\"provider\",\"id\":\"org.example.prvng.files-rust\",\
\"name\":\"files-rust\",\"version\":\"0.1.0\",\"requires\":[],\"isolation\":\"process\"}\0\0\0\0";

/// Its text padded with NUL to a multiple of four: read without running any code of this file.
const NOTE_SIZE: usize = NOTE_JSON.len() / 4 * 4;

const fn note_text() -> [u8; NOTE_SIZE] {
    let (mut all, mut i) = ([0; NOTE_SIZE], 0);
    while i < NOTE_SIZE {
        all[i] = NOTE_JSON.as_bytes()[i];
        i += 1;
    }
    all
}

#[used]
#[link_section = ".note.prvng"]
static NOTE: Note<NOTE_SIZE> = Note::new(&note_text());

/// # Safety
/// Called by the core, with pointers as prvng/plugin.h says.
#[no_mangle]
pub unsafe extern "C" fn prvng_plugin_v1(host: *const Host, ret_plugin: *mut *const Plugin) -> i32 {
    HOST.store(host as *mut Host, Ordering::Relaxed);
    *ret_plugin = &PLUGIN.0;
    DONE
}
