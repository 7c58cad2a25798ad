//! Commands that run as another user.

use super::{runner, world_with};
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::procs::{self, Proc};
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::World;
use nix::unistd::geteuid;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Above the CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE of each role: CAP_KILL, CAP_SETGID, CAP_SETUID.
const OF_RUNNER: u64 = 1 << 1 | 1 << 2 | 1 << 19 | 1 << 5 | 1 << 6 | 1 << 7;
const USER: u32 = 54_321;

/// Users of this test's own: `deploy`, with a group and two more.
fn users(dir: &Path) -> [Mounted; 2] {
    let with = |file: &str, lines: &str| {
        let (real, own) = (Path::new("/etc").join(file), dir.join(file));
        fs::write(&own, fs::read_to_string(&real).unwrap() + lines).unwrap();
        Mounted::bind(&own, &real)
    };
    [
        with("passwd", "deploy:x:54321:54322::/home/of-deploy:/bin/sh\n"),
        with("group", "deploy:x:54322:\nweb:x:54323:root,deploy\nlogs:x:54324:deploy\n"),
    ]
}

/// A script that writes who it is, and a directory where that user may write.
fn script(dir: &Path) -> (PathBuf, PathBuf) {
    let (script, out) = (dir.join("hook"), dir.join("out"));
    let text = format!(
        "#!/bin/sh\ncd '{}'\n{{ id -u; id -g; id -G; echo \"$HOME $USER $LOGNAME\"\n\
         grep -E '^(NoNewPrivs|CapEff|CapPrm|CapInh|CapAmb):' /proc/self/status\n\
         echo \"$SYNCSUP_EVENT $*\"; ls -l /proc/self/fd; readlink /proc/self/fd/0; }} > \"new.$1\" 2>&1\nmv \"new.$1\" \"$1\"\n",
        out.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(&out).unwrap();
    chown(&out, Some(USER), None).unwrap();
    (script, out)
}

fn is_the_user(text: &str) -> bool {
    let mut lines = text.lines();
    let ids = [lines.next(), lines.next()];
    let mut groups: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
    groups.sort_unstable();
    let caps = ["CapInh", "CapPrm", "CapEff", "CapAmb"]
        .iter()
        .all(|set| text.contains(&format!("{set}:\t0000000000000000")));
    ids == [Some("54321"), Some("54322")]
        && groups == ["54322", "54323", "54324"]
        && lines.next() == Some("/home/of-deploy deploy deploy")
        && text.contains("NoNewPrivs:\t1")
        && caps
        && text.contains("/dev/null")
}

fn capabilities(process: &Proc) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap_or("0");
    u64::from_str_radix(line.trim(), 16).unwrap()
}

fn with_users(test: impl FnOnce(&Path) + Send + 'static) {
    if !geteuid().is_root() {
        return eprintln!("SKIPPED: not root");
    }
    with_private_mounts(move || {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let _users = users(dir.path());
        test(dir.path());
    });
}

fn text(file: &Path) -> Option<String> {
    poll(DEADLINE, || fs::read_to_string(file).ok())
}

#[test]
fn a_command_runs_with_the_groups_and_the_home_of_its_user() {
    with_users(|dir| {
        let (script, out) = script(dir);
        let plugin = format!("command: {{prefix: \"{} called\", user: deploy}}", script.display());
        let alarm =
            format!("on_failure: {script:?} alarm\nalarm_after: 100ms\nalarm_user: deploy\n");
        let alarm = alarm.replace("\" alarm", " alarm\"");
        let mut w = world_with(1, &[plugin], &alarm);
        w.run(&[]);
        w.write("file", "x");
        let called = text(&out.join("called")).unwrap_or_else(|| panic!("{}", w.instance.report()));
        assert!(is_the_user(&called), "{called}");
        assert!(called.contains(&format!(" called {}", w.at("file").display())), "{called}");
        w.wait_in_sync();
        w.remotes[0].stop();
        w.write("file", "y");
        let told = text(&out.join("alarm")).unwrap_or_else(|| panic!("{}", w.instance.report()));
        assert!(is_the_user(&told) && told.contains("failure alarm"), "{told}");
        // The runner has kept what this takes, and nothing more.
        let runner = runner(&w);
        assert_eq!(capabilities(&runner) & !OF_RUNNER, 0, "{:x}", capabilities(&runner));
        let status = fs::read_to_string(format!("/proc/{}/status", runner.pid)).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        w.instance.stop();
    });
}

fn sleepers(w: &World) -> Vec<Proc> {
    let script = w.outside.display().to_string();
    procs::all().into_iter().filter(|p| p.command.contains(&script) && p.state != 'Z').collect()
}

#[test]
fn a_command_of_another_user_is_killed_in_time_and_after_its_runner() {
    with_users(|dir| {
        let (_, out) = script(dir);
        let plugin = "command: {prefix: PLUGIN, user: deploy, timeout: 2s}".to_owned();
        let mut w = world_with(1, &[plugin], "");
        let hook = w.outside.join("hook");
        let text = format!("#!/bin/sh\necho x >> '{}'\nsleep 1000\n", out.join("begun").display());
        fs::write(&hook, text).unwrap();
        let open = w.outside.ancestors().take(2);
        open.for_each(|d| fs::set_permissions(d, Permissions::from_mode(0o755)).unwrap());
        fs::set_permissions(&hook, Permissions::from_mode(0o755)).unwrap();
        let yaml = fs::read_to_string(w.instance.config()).unwrap();
        fs::write(w.instance.config(), yaml.replace("PLUGIN", hook.to_str().unwrap())).unwrap();
        w.run(&[]);
        w.write("file", "x");
        let log = |w: &World, words: &str| w.instance.log_text().contains(words);
        wait_for("its end", DEADLINE, || log(&w, "took too long and was killed"));
        // The next call outlives its runner, until that is restarted.
        let begun = || fs::read_to_string(out.join("begun")).unwrap_or_default().lines().count();
        let before = begun();
        wait_for("another call", DEADLINE, || begun() > before);
        runner(&w).signal(nix::sys::signal::Signal::SIGKILL);
        w.instance.stop();
        wait_for("no command is left", DEADLINE, || sleepers(&w).is_empty());
    });
}

#[test]
fn a_command_that_cannot_become_its_user_or_program_fails_even_where_errors_are_ignored() {
    with_users(|dir| {
        let (script, out) = script(dir);
        let plugins = [
            "command: {prefix: /none/such, user: deploy, ignore_error: true}".to_owned(),
            format!("command: {{prefix: \"{} later\", user: deploy}}", script.display()),
        ];
        let mut w = world_with(1, &plugins, "");
        w.run(&[]);
        w.write("file", "x");
        wait_for("its error", DEADLINE, || {
            let log = w.instance.log_text();
            log.contains("a call failed") && log.contains("/none/such: No such file")
        });
        assert!(text(&out.join("later")).is_some_and(|t| is_the_user(&t)));
        // A user that does not exist is an error with its line.
        let yaml = fs::read_to_string(w.instance.config()).unwrap();
        fs::write(w.instance.config(), yaml.replacen("user: deploy", "user: nosuch", 1)).unwrap();
        for args in [["check"], ["reload"]] {
            let result = w.instance.command(&args);
            let said = String::from_utf8_lossy(&result.stderr).into_owned();
            assert_eq!(result.status.code(), Some(2), "{said}");
            assert!(said.contains("syncsup.yaml:4: user nosuch: no such user"), "{said}");
        }
    });
}
