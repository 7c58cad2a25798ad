//! Which instance a configuration is, however its path is written, and what a directory of configurations holds.

use crate::common::instance::Instance;
use nix::sys::stat::Mode;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// A directory with localpaths that no remote takes, and an instance that is not started.
struct Place {
    instance: Instance,
    dir: TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let instance = Instance::new(&dir.path().join("instance"), "unused.yaml", "");
        let place = Place { instance, dir };
        ["a", "b", "conf.d"].iter().for_each(|d| fs::create_dir(place.at(d)).unwrap());
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A configuration of the localpath of that name.
    fn text(&self, local: &str) -> String {
        // Nobody listens on port 1.
        format!(
            "localpaths: [{{watch: {}, remotes: ['127.0.0.1:1::{local}']}}]\n",
            self.at(local).display()
        )
    }

    fn configure(&self, file: &str, local: &str) {
        fs::write(self.at(file), self.text(local)).unwrap();
    }

    fn command(&self, args: &[&str], file: &Path) -> Output {
        let mut command = self.instance.prepare(&Instance::program(), args);
        command.current_dir(self.dir.path()).arg("-o").arg(file).output().unwrap()
    }

    /// The localpaths that the instance of `file` keeps, or nothing when there is none.
    fn kept(&self, file: &Path) -> Vec<String> {
        let out = self.command(&["status", "--json"], file);
        let Ok(status) = serde_json::from_slice::<serde_json::Value>(&out.stdout) else {
            return Vec::new();
        };
        let localpaths = status["instances"][0]["localpaths"].as_array().cloned();
        let names = localpaths
            .unwrap_or_default()
            .into_iter()
            .filter_map(|l| Some(l["watch"].as_str()?.rsplit('/').next()?.to_owned()));
        names.collect()
    }
}

#[test]
fn an_instance_is_found_by_every_path_to_its_file() {
    let place = Place::new();
    place.configure("real.yaml", "a");
    symlink("real.yaml", place.at("link.yaml")).unwrap();
    symlink(".", place.at("here")).unwrap();
    let paths = [
        place.at("link.yaml"),
        place.at("real.yaml"),
        place.at("here/real.yaml"),
        place.at("conf.d/../link.yaml"),
        "real.yaml".into(),
        "./here/link.yaml".into(),
    ];
    for started in [&paths[0], &paths[1], &paths[5]] {
        let out = place.command(&["-d"], started);
        assert!(out.status.success(), "{started:?}: {out:?}");
        for path in &paths {
            assert_eq!(place.kept(path), ["a"], "started with {started:?}, asked with {path:?}");
            let again = place.command(&["-d"], path);
            assert_eq!(again.status.code(), Some(4), "{path:?}: {again:?}");
        }
        assert!(place.command(&["stop"], &paths[2]).status.success());
    }
}

#[test]
fn a_configuration_link_changed_while_running_is_read_at_reload() {
    let place = Place::new();
    place.configure("1.yaml", "a");
    place.configure("2.yaml", "b");
    let link = place.at("link.yaml");
    symlink("1.yaml", &link).unwrap();
    assert!(place.command(&["-d"], &link).status.success());
    fs::remove_file(&link).unwrap();
    symlink("2.yaml", &link).unwrap();
    assert_eq!(place.kept(&link), ["a"]);
    let second = place.command(&["-d"], &link);
    assert_eq!(second.status.code(), Some(4), "{second:?}");
    let reload = place.command(&["reload"], &link);
    assert!(reload.status.success(), "{reload:?}");
    assert_eq!([place.kept(&link), place.kept(&place.at("2.yaml"))], [["b"], ["b"]]);
    assert!(place.command(&["stop"], &link).status.success());
    assert!(place.kept(&link).is_empty());
}

#[test]
fn a_file_named_like_a_configuration_must_be_one() {
    let place = Place::new();
    let conf = place.at("conf.d");
    place.configure("conf.d/A.YAML", "a");
    place.configure("elsewhere.yaml", "b");
    symlink("../elsewhere.yaml", conf.join("b.Yml")).unwrap();
    assert!(place.command(&["-d"], &conf).status.success());
    assert_eq!(place.kept(&conf), ["a", "b"]);
    let refused = |what: &str, word: &str| {
        let reload = place.command(&["reload"], &conf);
        let said = String::from_utf8_lossy(&reload.stderr).into_owned();
        assert!(!reload.status.success() && said.contains(word), "{what}: {reload:?}");
        assert!(said.contains("conf.d/"), "{what}: does not name the file: {said}");
        assert_eq!(place.kept(&conf), ["a", "b"], "{what}");
        let check = place.command(&["check"], &conf);
        assert_eq!(check.status.code(), Some(2), "{what}: {check:?}");
    };
    fs::rename(place.at("elsewhere.yaml"), place.at("moved.yaml")).unwrap();
    refused("a link that leads nowhere", "elsewhere.yaml, which does not exist");
    fs::rename(place.at("moved.yaml"), place.at("elsewhere.yaml")).unwrap();
    fs::create_dir(conf.join("x.yaml")).unwrap();
    refused("a directory", "is a directory");
    fs::remove_dir(conf.join("x.yaml")).unwrap();
    nix::unistd::mkfifo(&conf.join("x.XML"), Mode::S_IRWXU).unwrap();
    refused("a fifo", "not a regular file");
    fs::remove_file(conf.join("x.XML")).unwrap();
    // What no configuration is called is none.
    fs::create_dir(conf.join("x.yaml.d")).unwrap();
    fs::write(conf.join("old.yaml~"), "\0").unwrap();
    assert!(place.command(&["reload"], &conf).status.success());
    assert_eq!(place.kept(&conf), ["a", "b"]);
    assert!(place.command(&["stop"], &conf).status.success());
}
