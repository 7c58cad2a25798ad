//! Orders to a process to kill or stop itself at a named step, see `src/sys/fault_point.rs`.

use super::instance::Instance;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use syncsup::sys::fault_point::{Point, VARIABLE};

/// True if the program takes orders; a released one has no such steps, and this says so.
pub fn are_possible() -> bool {
    let found = Command::new("grep").args(["-qaF", VARIABLE]).arg(Instance::program()).status();
    let found = found.expect("grep").success();
    if !found {
        println!("SKIPPED: the program is a released one, without fault points");
    }
    found
}

/// Tells an instance where its orders are: in this new directory. Before its start.
pub fn arm(instance: &mut Instance, orders: &Path) {
    fs::create_dir(orders).expect("a directory for orders");
    instance.environment.push((VARIABLE.into(), orders.into()));
}

fn file(orders: &Path, point: Point) -> PathBuf {
    orders.join(format!("{point:?}"))
}

/// Orders something, such as `stop 3`; false if another order for the step is there.
pub fn give(orders: &Path, point: Point, order: &str) -> bool {
    let (new, file) = (orders.join("new"), file(orders, point));
    if file.exists() || taken(orders, point).is_some() {
        return false;
    }
    fs::write(&new, order).and_then(|()| fs::rename(&new, file)).expect("an order");
    true
}

/// Takes an order back that nobody has carried out.
pub fn take_back(orders: &Path, point: Point) {
    let _ = fs::remove_file(file(orders, point));
}

/// The note of the process that carries the order out, and its process ID.
pub fn taken(orders: &Path, point: Point) -> Option<(PathBuf, i32)> {
    let names = fs::read_dir(orders).expect("the orders").flatten();
    names.into_iter().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let pid = name.strip_prefix(&format!("{point:?}."))?.parse().ok()?;
        Some((entry.path(), pid))
    })
}
