//! Changes to the master. Each function makes changes and returns the time of the last one.

use super::watch::DemoWatch;
use crate::error::{Error, Result};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Names that break scripts, shells and list files.
pub const ODD_NAMES: [&[u8]; 14] = [
    b"two\nlines.txt",
    b"it's \"quoted\".txt",
    b"$(touch owned).txt",
    b"`id`.txt",
    b"-rf",
    b"--delete",
    b"#comment",
    b";semicolon",
    b" space at both ends ",
    b"*?[a-z]",
    b"back\\slash",
    b"tab\tand\rreturn",
    "naïve 数据 ☃".as_bytes(),
    b"invalid \xff\xfe UTF-8",
];

fn done(result: io::Result<()>) -> Result<Instant> {
    result.map_err(|e| Error::system("cannot change the master's files", e))?;
    Ok(Instant::now())
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())
}

/// The files that exist before syncsup starts.
pub fn first_tree(root: &Path) -> Result<Instant> {
    done((|| {
        for dir in ["site", "site/images", "upload", "empty directory"] {
            fs::create_dir(root.join(dir))?;
        }
        for n in 0..20 {
            fs::write(root.join(format!("site/page{n}.html")), format!("<p>page {n}</p>\n"))?;
            fs::write(root.join(format!("site/images/{n}.png")), vec![n; 20_000])?;
        }
        fs::write(root.join("upload/large.bin"), vec![7; 4 << 20])?;
        symlink("site/page0.html", root.join("index.html"))
    })())
}

/// Creates files with odd names, in the root and in a directory with an odd name.
pub fn create_odd(root: &Path) -> Result<Instant> {
    done((|| {
        let odd = root.join("odd\n\"dir\" $(x)");
        fs::create_dir(&odd)?;
        for name in ODD_NAMES {
            fs::write(odd.join(OsStr::from_bytes(name)), name)?;
            fs::write(root.join(OsStr::from_bytes(name)), name)?;
        }
        symlink("-rf", root.join("link to -rf"))
    })())
}

/// Makes every kind of edit.
pub fn edit(root: &Path) -> Result<Instant> {
    done((|| {
        append(&root.join("-rf"), "one more line\n")?;
        File::create(root.join("site/page1.html"))?;
        // Two writes of the same length within one second: only the content differs.
        fs::write(root.join("site/page2.html"), "<p>AAAA 2</p>\n")?;
        fs::write(root.join("site/page2.html"), "<p>BBBB 2</p>\n")?;
        fs::set_permissions(root.join("site/page3.html"), Permissions::from_mode(0o600))?;
        fs::set_permissions(root.join("upload"), Permissions::from_mode(0o750))?;
        let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        File::options().write(true).open(root.join("site/page4.html"))?.set_modified(old)?;
        append(&root.join("upload/large.bin"), "the end")
    })())
}

/// Makes every kind of rename.
pub fn rename(root: &Path) -> Result<Instant> {
    done((|| {
        fs::rename(root.join("site/page5.html"), root.join("upload/moved page.html"))?;
        fs::rename(root.join("site/page6.html"), root.join("site/page7.html"))?;
        fs::rename(root.join("site/images"), root.join("upload/pictures"))?;
        fs::rename(root.join("odd\n\"dir\" $(x)"), root.join("-odd `dir`"))?;
        fs::rename(root.join("#comment"), root.join(";comment"))
    })())
}

/// Deletes names, and changes the type of others.
pub fn delete(root: &Path) -> Result<Instant> {
    done((|| {
        for name in &ODD_NAMES[..6] {
            fs::remove_file(root.join(OsStr::from_bytes(name)))?;
        }
        fs::remove_dir_all(root.join("-odd `dir`"))?;
        fs::remove_dir(root.join("empty directory"))?;
        fs::write(root.join("empty directory"), "a file now\n")?;
        fs::remove_file(root.join("site/page8.html"))?;
        fs::create_dir(root.join("site/page8.html"))?;
        fs::write(root.join("site/page8.html/inside"), "a directory now\n")
    })())
}

/// Creates 400 files in 40 directories.
pub fn create_many(root: &Path) -> Result<Instant> {
    done((|| {
        for dir in 0..40 {
            let path = root.join(format!("many/group{}/dir{dir}", dir % 4));
            fs::create_dir_all(&path)?;
            for n in 0..10 {
                fs::write(path.join(format!("file{n}")), format!("{dir} {n}\n").repeat(500))?;
            }
        }
        Ok(())
    })())
}

/// Renames all of them.
pub fn rename_many(root: &Path) -> Result<Instant> {
    done(fs::rename(root.join("many"), root.join("many more")))
}

/// Deletes half of them.
pub fn delete_many(root: &Path) -> Result<Instant> {
    done((|| {
        fs::remove_dir_all(root.join("many more/group0"))?;
        fs::remove_dir_all(root.join("many more/group1"))
    })())
}

/// Makes a few changes of every kind below a new name.
pub fn round(root: &Path, name: &str) -> Result<Instant> {
    done((|| {
        let dir = root.join(name);
        fs::create_dir_all(dir.join("deep/er"))?;
        for n in 0..10 {
            fs::write(dir.join(format!("deep/er/{n}")), format!("{name} {n}\n"))?;
        }
        append(&root.join("upload/large.bin"), name)?;
        append(&root.join("site/page9.html"), name)?;
        fs::rename(root.join("upload/pictures"), root.join("pictures"))?;
        fs::rename(root.join("pictures"), root.join("upload/pictures"))?;
        fs::rename(root.join("site/page10.html"), dir.join("moved here"))?;
        fs::write(root.join("site/page10.html"), format!("new in {name}\n"))
    })())
}

/// Makes 200 small changes, one after the other. Calls `meanwhile` before each with its number.
pub fn churn(
    root: &Path,
    name: &str,
    watch: &mut DemoWatch,
    mut meanwhile: impl FnMut(u32),
) -> Result<Instant> {
    let dir = root.join(name);
    done(fs::create_dir(&dir))?;
    let mut last = Instant::now();
    for n in 0..200 {
        meanwhile(n);
        last = done((|| {
            let file = dir.join(format!("file {n}"));
            fs::write(&file, format!("{name} {n}\n").repeat(20))?;
            match n % 5 {
                1 => fs::rename(&file, dir.join(format!("renamed {n}"))),
                2 => fs::remove_file(&file),
                3 => append(&dir.join("file 0"), "more\n"),
                4 => fs::create_dir(dir.join(format!("dir {n}"))),
                _ => Ok(()),
            }
        })())?;
        watch.pause(Duration::from_millis(3))?;
    }
    Ok(last)
}
