// SPDX-License-Identifier: Apache-2.0

//! The plugin interface 1.0 as Rust sees it: what this provider needs of prvng/abi.h, host.h, plugin.h and
//! kind/op.h, by hand. Structs only ever grow at their end, so this stays right with every 1.x core.

use std::os::raw::{c_char, c_void};

pub const ABI_MINOR: u32 = 0;

pub const DONE: i32 = 0;
pub const UNCHANGED: i32 = 2;
pub const TRANSIENT: i32 = -1;
pub const PERMANENT: i32 = -3;
pub const CONFLICT: i32 = -5;
pub const NOT_FOUND: i32 = -6;
pub const CANCELLED: i32 = -7;
pub const UNSUPPORTED: i32 = -8;
pub const INTERNAL: i32 = -10;

pub const EFFECT_NONE: u32 = 0;
pub const EFFECT_UNKNOWN: u32 = 1;

pub const OBSERVED_DONE: i32 = 0;
pub const OBSERVED_NOT_STARTED: i32 = 2;

pub const LOG_ERROR: i32 = 0;
pub const THREADS_PARALLEL: u32 = 2;

#[repr(C)]
pub struct Sink {
    _private: [u8; 0],
}

#[repr(C)]
pub struct Error {
    pub struct_size: u32,
    pub reserved: u32,
    pub error_class: i32,
    pub code: i32,
    pub retry_after_ms: i64,
    pub effect: u32,
    pub status: i32,
    pub message: *const c_char,
    pub field: *const c_char,
}

#[repr(C)]
pub struct Call {
    pub struct_size: u32,
    pub reserved: u32,
    pub op_id: *const c_char,
    pub attempt: u32,
    pub reserved2: u32,
    pub deadline_ms: i64,
    pub epoch: u64,
    pub trace_parent: *const c_char,
    pub run: *const c_char,
    pub task: *const c_char,
}

/// Functions that this plugin does not call stand here as what they are in size: pointers.
#[repr(C)]
pub struct Host {
    pub struct_size: u32,
    pub reserved: u32,
    pub abi_minor: u32,
    pub reserved2: u32,
    pub core_version: *const c_char,
    pub log: extern "C" fn(*const Host, i32, *const c_char, *const c_char),
    pub error: extern "C" fn(*mut Call, *const Error),
    pub is_cancelled: extern "C" fn(*mut Call) -> i32,
    pub cancel_fd: extern "C" fn(*mut Call) -> i32,
    pub progress: extern "C" fn(*mut Call, u32, *const c_char),
    pub ask_again: extern "C" fn(*mut Call, i64),
    pub sink_write: extern "C" fn(*mut Sink, *const c_void, u64) -> i32,
    pub sink_new: *const c_void,
    pub sink_data: *const c_void,
    pub sink_free: *const c_void,
    pub intern: *const c_void,
    pub monotonic_ms: *const c_void,
    pub get_interface: *const c_void,
}

/// prvng.op/1
#[repr(C)]
pub struct Op {
    pub struct_size: u32,
    pub reserved: u32,
    pub prepare: extern "C" fn(*mut c_void, *mut Call, *const c_char, *const c_void, u64, *mut Sink) -> i32,
    pub begin: extern "C" fn(*mut c_void, *mut Call, *const c_char, *const c_void, u64, *mut Sink, *mut Sink) -> i32,
    pub poll: *const c_void,
    pub cancel: *const c_void,
    #[allow(clippy::type_complexity)]
    pub observe: extern "C" fn(
        *mut c_void,
        *mut Call,
        *const c_char,
        *const c_void,
        u64,
        *const c_void,
        u64,
        *mut Sink,
        *mut Sink,
    ) -> i32,
    pub read: extern "C" fn(*mut c_void, *mut Call, *const c_void, u64, *mut Sink) -> i32,
    pub list: extern "C" fn(*mut c_void, *mut Call, *const c_void, u64, *mut Sink) -> i32,
    pub describe: extern "C" fn(*mut c_void, *mut Sink) -> i32,
}

#[repr(C)]
pub struct Plugin {
    pub struct_size: u32,
    pub reserved: u32,
    pub abi_minor: u32,
    pub min_host_minor: u32,
    pub id: *const c_char,
    pub name: *const c_char,
    pub kind: *const c_char,
    pub version: *const c_char,
    pub description: *const c_char,
    pub licence: *const c_char,
    pub threads: u32,
    pub flags: u32,
    pub settle_ms: i64,
    pub dependencies: *const c_char,
    pub create: extern "C" fn(*const Host, *const c_void, u64, *mut *mut c_void) -> i32,
    pub destroy: extern "C" fn(*mut c_void),
    pub get_interface: extern "C" fn(*mut c_void, *const c_char) -> *const c_void,
    pub self_test: *const c_void,
}

/// Tables are constant and hold pointers to constants only.
pub struct Constant<T>(pub T);
unsafe impl<T> Sync for Constant<T> {}

/// The ELF note: name, description, both padded to four bytes.
#[repr(C, align(4))]
pub struct Note<const N: usize> {
    pub n_name: u32,
    pub n_desc: u32,
    pub kind: u32,
    pub name: [u8; 8],
    pub desc: [u8; N],
}

impl<const N: usize> Note<N> {
    pub const fn new(json: &[u8; N]) -> Self {
        Note { n_name: 6, n_desc: N as u32, kind: 1, name: *b"prvng\0\0\0", desc: *json }
    }
}
