//! `syncsup demo`: shows replication at work. Three rsync daemons on loopback are the slaves. The demo starts this
//! program on a directory, makes changes and kills processes. After each step, it compares master and slaves. It leaves
//! nothing behind, however it ends.

mod changes;
mod instance;
mod lag;
mod procs;
mod say;
mod slave;
mod stage;
mod tree;
mod watch;

use crate::error::{Exit, Result};
use changes::ODD_NAMES;
use procs::tree as process_tree;
use say::time;
use stage::DemoStage;
use std::time::{Duration, Instant};

/// Runs the demo. Returns [`Exit::No`] if master and slaves were different at the end.
pub fn run() -> Result<Exit> {
    let mut stage = DemoStage::build()?;
    let played = play(&mut stage);
    let told = match &played {
        Err(e) if e.exit == Exit::No => {
            stage.say.bad(("{}", "{}"), &[&e.text.replace('\n', "\n     ")])
        }
        _ => Ok(()),
    };
    // Clean up in every case, even if the output is not read.
    let cleaned = stage.clean();
    match played {
        Err(e) if e.exit == Exit::No => told.and(cleaned).and(Ok(Exit::No)),
        played => played.and(cleaned).and_then(|()| next(&mut stage)).and(Ok(Exit::Ok)),
    }
}

fn play(stage: &mut DemoStage) -> Result<()> {
    let began = Instant::now();
    start(stage)?;
    single_files(stage)?;
    small_changes(stage)?;
    many_files(stage)?;
    slave_down(stage)?;
    child_killed(stage, 0)?;
    child_killed(stage, 1)?;
    all_killed(stage)?;
    stage.say.step(("Stop", "停止"))?;
    stage.stop()?;
    let left = stage.running();
    stage.say.line(
        (
            "'syncsup stop' stopped it; processes left: {}",
            "syncsup stop 已结束运行，剩余进程数：{}",
        ),
        &[&left.to_string()],
    )?;
    stage.compare(&[0, 1, 2], Instant::now())?;
    let (count, took) = (stage.comparisons.to_string(), time(began.elapsed()));
    stage.say.good(
        ("{} comparisons, no difference, in {}", "共比对 {} 次，全部一致，用时 {}"),
        &[&count, &took],
    )
}

/// What to do after the demo.
fn next(stage: &mut DemoStage) -> Result<()> {
    stage.say.line(
        ("Next, with directories and slaves of your own:", "接下来，用自己的目录和从机："),
        &[],
    )?;
    let yaml = "localpaths: [{watch: /data/www, remotes: [\"10.0.0.2::www\"]}]";
    stage.say.quote(&[
        format!("echo '{yaml}' > www.yaml"),
        "syncsup check --connect -o www.yaml".to_owned(),
        "syncsup -o www.yaml".to_owned(),
    ])?;
    stage.say.line(
        (
            "The slave needs an rsync daemon with a module www: see man syncsup.",
            "从机上需要一个带 www 模块的 rsync 守护进程，见 man syncsup。",
        ),
        &[],
    )
}

fn start(stage: &mut DemoStage) -> Result<()> {
    let say = &mut stage.say;
    say.step(("Start: one master, three slaves", "启动：一台主机，三台从机"))?;
    let version = slave::rsync_version()?;
    say.line(
        (
            "Each slave is a plain rsync {} daemon on a loopback port, with an empty module.",
            "每台从机都是一个普通的 rsync {} 守护进程，监听本机回环端口，模块为空。",
        ),
        &[&version],
    )?;
    stage.add_slaves(3)?;
    changes::first_tree(&stage.master())?;
    let since = Instant::now();
    stage.start()?;
    stage.say.line(
        ("syncsup watches {}. Its processes:", "syncsup 已开始监视 {}，进程如下："),
        &[&stage.master().display().to_string()],
    )?;
    let pid = stage.instance_pid();
    stage.say.quote(&process_tree(pid, "syncsup run (supervisor)"))?;
    stage.say.line(
        (
            "The slaves were empty; the first copy comes by itself.",
            "从机原本是空的，首次全量复制自动进行。",
        ),
        &[],
    )?;
    stage.compare(&[0, 1, 2], since)
}

fn single_files(stage: &mut DemoStage) -> Result<()> {
    stage.say.step(("One file at a time", "逐个创建单个文件"))?;
    let lags = stage.lags()?;
    stage.say.line(
        ("On slave 1 after {} (median of {}).", "到达从机 1 用时 {}（{} 个文件的中位数）。"),
        &[&lag::ms(lags.syncsup), &lag::FILES.to_string()],
    )?;
    stage.say.line(
        (
            "An rsync -a --sockopts=TCP_NODELAY that is started for each file takes {}.",
            "每个文件单独启动一次 rsync -a --sockopts=TCP_NODELAY 则需 {}。",
        ),
        &[&lag::ms(lags.rsync)],
    )?;
    stage.compare(&[0, 1, 2], Instant::now())
}

fn small_changes(stage: &mut DemoStage) -> Result<()> {
    let all = [0, 1, 2];
    stage.say.step(("Create files with odd names", "创建带有各种怪异文件名的文件"))?;
    let names: Vec<String> = ODD_NAMES.iter().map(|n| crate::path::printable(n)).collect();
    stage.say.quote(&names.chunks(4).map(|c| c.join("   ")).collect::<Vec<_>>())?;
    let since = changes::create_odd(&stage.master())?;
    stage.compare(&all, since)?;

    stage.say.step((
        "Edit: append, truncate, rewrite at the same length, change modes, set an old time",
        "编辑：追加、截断、等长改写、改权限、设置旧的修改时间",
    ))?;
    let since = changes::edit(&stage.master())?;
    stage.compare(&all, since)?;

    stage.say.step((
        "Rename: a file, one file over another, a directory",
        "改名：文件改名、覆盖已有文件、目录改名",
    ))?;
    let since = changes::rename(&stage.master())?;
    stage.compare(&all, since)?;

    stage.say.step((
        "Delete files and a directory; a file takes the place of a directory, and the other way round",
        "删除文件和目录；文件与目录互换位置",
    ))?;
    let since = changes::delete(&stage.master())?;
    stage.compare(&all, since)
}

fn many_files(stage: &mut DemoStage) -> Result<()> {
    let all = [0, 1, 2];
    stage.say.step((
        "Many at once: 400 files in 40 directories",
        "一次大量变化：40 个目录、400 个文件",
    ))?;
    let since = changes::create_many(&stage.master())?;
    stage.compare(&all, since)?;
    stage.say.line(("The tree of 400 files is renamed.", "整棵目录树（400 个文件）改名。"), &[])?;
    let since = changes::rename_many(&stage.master())?;
    stage.compare(&all, since)?;
    stage.say.line(("Half of it is deleted.", "删除其中一半。"), &[])?;
    let since = changes::delete_many(&stage.master())?;
    stage.compare(&all, since)
}

fn slave_down(stage: &mut DemoStage) -> Result<()> {
    stage.say.step(("Stop one slave while files change", "停掉一台从机，期间文件继续变化"))?;
    stage.slaves[2].stop()?;
    stage
        .say
        .line(("Slave 3 ({}) is killed.", "从机 3（{}）已被杀死。"), &[&stage.slaves[2].name()])?;
    let since = changes::round(&stage.master(), "down")?;
    stage.compare(&[0, 1], since)?;
    let differences = stage.differences(2)?;
    stage.say.line(
        ("Slave 3 lacks {} changes, as expected.", "从机 3 缺少 {} 处变化，理应如此。"),
        &[&differences.len().to_string()],
    )?;
    let state = stage.remote_trouble(2)?;
    stage.say.line(("'syncsup status' reports: {}", "syncsup status 对它的描述：{}"), &[&state])?;
    let DemoStage { slaves, watch, .. } = stage;
    slaves[2].start_again(watch)?;
    stage.say.line(
        (
            "Slave 3 is restarted. syncsup is not told, and notices by itself.",
            "从机 3 重新启动；不通知 syncsup，由它自行发现。",
        ),
        &[],
    )?;
    stage.compare(&[0, 1, 2], Instant::now())
}

/// Kills one of the processes (`which` in the order of [`DemoStage::children`]) while files change. The others
/// continue, and the supervisor restarts the killed one.
fn child_killed(stage: &mut DemoStage, which: usize) -> Result<()> {
    stage.say.step(match which {
        0 => ("kill -9 the watcher while files change", "文件变化期间 kill -9 监视进程（watcher）"),
        _ => ("kill -9 a pusher while files change", "文件变化期间 kill -9 推送进程（pusher）"),
    })?;
    let before = stage.children_without(0)?;
    let victim = before[which];
    let name = format!("killed {which}");
    let since = changes::churn(&stage.master(), &name, &mut stage.watch, |n| {
        if n == 60 {
            crate::sys::process::kill_pid(victim);
        }
    })?;
    stage.compare(&[0, 1, 2], since)?;
    let after = stage.children_without(victim)?;
    let same = after.iter().filter(|pid| before.contains(pid)).count();
    stage.say.line(
        (
            "It was restarted (pid {} → {}); the other {} processes are the same as before.",
            "它已自动恢复（进程号 {} → {}）；其余 {} 个进程仍是原来的进程。",
        ),
        &[&victim.to_string(), &after[which].to_string(), &same.to_string()],
    )
}

fn all_killed(stage: &mut DemoStage) -> Result<()> {
    stage.say.step((
        "kill -9 everything, change files while nothing runs, restart",
        "kill -9 全部进程，在无进程运行时修改文件，再重新启动",
    ))?;
    stage.kill_all(Duration::from_secs(5))?;
    changes::round(&stage.master(), "nothing-runs")?;
    let differences = stage.differences(0)?;
    stage.say.line(
        ("Nothing runs; slave 1 lacks {} changes.", "没有任何进程在运行；从机 1 缺少 {} 处变化。"),
        &[&differences.len().to_string()],
    )?;
    let since = Instant::now();
    stage.start()?;
    stage.say.line(
        (
            "Restarted, without -r. The time is measured from the start.",
            "重新启动，不带 -r；计时从启动开始。",
        ),
        &[],
    )?;
    stage.compare(&[0, 1, 2], since)
}
