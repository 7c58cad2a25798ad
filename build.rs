//! Links the program at a fixed address. Each of its processes would otherwise have a copy of its own of half a megabyte
//! of constant data, in which addresses are filled in when it starts.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
