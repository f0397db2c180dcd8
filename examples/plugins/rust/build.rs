// SPDX-License-Identifier: Apache-2.0

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete,-z,now");
    println!("cargo:rerun-if-changed=build.rs");
}
