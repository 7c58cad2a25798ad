use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn start(child: &mut Child, now: Duration) {
    assert_eq!(child.step(ChildEvent::Tick, now), Some(ChildAction::Start));
    assert_eq!(child.step(ChildEvent::Started, now), None);
    assert_eq!(child.step(ChildEvent::Heard, now), None);
}

#[test]
fn restarts_immediately_then_with_growing_delays_then_immediately_again() {
    let mut child = Child::new(ms(0));
    let mut now = ms(0);
    let mut delays = Vec::new();
    for _ in 0..14 {
        start(&mut child, now);
        child.step(ChildEvent::Ended, now);
        let ChildState::Down { restart_at } = child.state() else { panic!("{child:?}") };
        delays.push((restart_at - now).as_millis());
        assert_eq!(child.step(ChildEvent::Tick, restart_at - ms(1).min(restart_at - now)), {
            (restart_at == now).then_some(ChildAction::Start)
        });
        now = restart_at;
    }
    assert_eq!(
        delays,
        [0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000, 30000]
    );
    start(&mut child, now);
    now += HEALTHY;
    child.step(ChildEvent::Ended, now);
    assert_eq!(child.state(), ChildState::Down { restart_at: now });
}

#[test]
fn a_child_killed_from_outside_is_restarted_soon() {
    let mut child = Child::new(ms(0));
    let mut now = ms(0);
    for n in 0..20 {
        start(&mut child, now);
        // Sometimes the closed channel is seen first.
        if n % 2 == 0 {
            assert_eq!(child.step(ChildEvent::Lost, now), Some(ChildAction::Kill));
        }
        child.step(ChildEvent::Killed, now);
        let ChildState::Down { restart_at } = child.state() else { panic!("{child:?}") };
        assert!(restart_at - now <= KILLED_DELAY_MAX);
        now = restart_at;
    }
}

/// One tick each second up to this time, as the loop sends them. Returns the action of the last one.
fn ticks(child: &mut Child, to: Duration) -> Option<ChildAction> {
    while child.ticked + ms(1_000) < to {
        assert_eq!(child.step(ChildEvent::Tick, child.ticked + ms(1_000)), None, "{child:?}");
    }
    child.step(ChildEvent::Tick, to)
}

#[test]
fn a_silent_child_is_killed() {
    let mut child = Child::new(ms(0));
    start(&mut child, ms(0));
    assert_eq!(ticks(&mut child, ms(5_000)), None);
    child.step(ChildEvent::Heard, ms(5_000));
    assert_eq!(child.next_at(), Some(ms(5_000) + SILENT));
    assert_eq!(ticks(&mut child, ms(5_000) + SILENT - ms(1)), None);
    assert_eq!(ticks(&mut child, ms(5_000) + SILENT), Some(ChildAction::Kill));
    assert_eq!(child.step(ChildEvent::Tick, ms(50_000)), None, "one kill is enough");
    child.step(ChildEvent::Ended, ms(50_000));
    assert_eq!(child.state(), ChildState::Down { restart_at: ms(50_000) });
}

#[test]
fn a_silent_child_that_is_busy_has_longer() {
    let mut child = Child::new(ms(0));
    start(&mut child, ms(0));
    assert_eq!(ticks(&mut child, SILENT - ms(1)), None);
    assert!(!child.is_silent(SILENT - ms(1)) && child.is_silent(SILENT));
    let mut now = SILENT;
    while now < SILENT_BUSY {
        assert_eq!(child.step(ChildEvent::Busy, now), None);
        assert_eq!(child.next_at(), Some(now + TICK));
        now += TICK;
    }
    let mut sleeps = child.clone();
    assert_eq!(sleeps.step(ChildEvent::Tick, now), Some(ChildAction::Kill));
    assert_eq!(child.step(ChildEvent::Busy, now), Some(ChildAction::Kill), "an endless loop");
    let mut heard = Child::new(ms(0));
    heard.step(ChildEvent::Tick, ms(0));
    heard.step(ChildEvent::Started, ms(0));
    assert_eq!(ticks(&mut heard, SILENT - ms(1)), None);
    assert_eq!(heard.step(ChildEvent::Busy, SILENT), None, "it is starting");
    heard.step(ChildEvent::Heard, SILENT + ms(1));
    assert_eq!(heard.next_at(), Some(SILENT + ms(1) + SILENT));
}

#[test]
fn a_child_that_never_sends_is_killed_too() {
    let mut child = Child::new(ms(0));
    child.step(ChildEvent::Tick, ms(0));
    child.step(ChildEvent::Started, ms(0));
    assert_eq!(ticks(&mut child, SILENT), Some(ChildAction::Kill));
}

/// A stopped or delayed supervisor could not read messages. The timeout starts again, whatever the point in its turn.
#[test]
fn a_suspended_supervisor_kills_no_child_as_silent() {
    let mut child = Child::new(ms(0));
    child.step(ChildEvent::Tick, ms(0));
    child.step(ChildEvent::Started, ms(0));
    assert_eq!(child.step(ChildEvent::Tick, SILENT), None, "it may have started");
    child.step(ChildEvent::Heard, SILENT);
    assert_eq!(child.step(ChildEvent::Tick, 3 * SILENT), None, "it may have spoken");
    assert_eq!(ticks(&mut child, 4 * SILENT - ms(1)), None);
    assert_eq!(ticks(&mut child, 4 * SILENT), Some(ChildAction::Kill), "it has had its time");
    let mut child = Child::new(ms(0));
    start(&mut child, ms(0));
    child.step(ChildEvent::StopWanted, ms(1));
    let woken = 2 * STOP_DEADLINE;
    assert_eq!(child.step(ChildEvent::Tick, woken), None, "it may be about to end");
    assert_eq!(ticks(&mut child, woken + STOP_DEADLINE), Some(ChildAction::Kill));
}

#[test]
fn a_child_stops_on_request_or_is_killed() {
    let mut child = Child::new(ms(0));
    start(&mut child, ms(0));
    assert_eq!(child.step(ChildEvent::StopWanted, ms(1)), Some(ChildAction::SendStop));
    assert_eq!(child.step(ChildEvent::StopWanted, ms(2)), None);
    assert_eq!(child.step(ChildEvent::Lost, ms(3)), None);
    assert_eq!(ticks(&mut child, ms(1) + STOP_DEADLINE), Some(ChildAction::Kill));
    child.step(ChildEvent::Ended, ms(20_000));
    assert!(child.is_gone());
    assert_eq!(child.step(ChildEvent::Tick, ms(90_000)), None);
}

#[test]
fn the_last_request_counts() {
    let mut child = Child::new(ms(0));
    start(&mut child, ms(0));
    child.step(ChildEvent::StopWanted, ms(1));
    child.step(ChildEvent::RestartWanted, ms(2));
    child.step(ChildEvent::Ended, ms(3));
    assert_eq!(child.state(), ChildState::Down { restart_at: ms(3) }, "configured again");
    start(&mut child, ms(3));
    child.step(ChildEvent::RestartWanted, ms(4));
    child.step(ChildEvent::StopWanted, ms(5));
    child.step(ChildEvent::Ended, ms(6));
    assert!(child.is_gone());
    child.step(ChildEvent::RestartWanted, ms(7));
    assert_eq!(child.state(), ChildState::Down { restart_at: ms(7) });
}

#[test]
fn a_lost_channel_kills_and_a_refused_start_is_delayed() {
    let mut child = Child::new(ms(0));
    start(&mut child, ms(0));
    assert_eq!(child.step(ChildEvent::Lost, ms(1)), Some(ChildAction::Kill));
    child.step(ChildEvent::Ended, ms(2));
    assert_eq!(child.step(ChildEvent::Tick, ms(2)), Some(ChildAction::Start));
    child.step(ChildEvent::Refused, ms(2));
    assert_eq!(child.state(), ChildState::Down { restart_at: ms(102) });
}

#[test]
fn a_resting_child_is_not_silent_and_must_be_heard_when_it_is_woken() {
    let mut child = Child::new(ms(0));
    start(&mut child, ms(0));
    child.step(ChildEvent::Rests, ms(1_000));
    assert!(child.rests() && child.next_at().is_none());
    assert_eq!(ticks(&mut child, ms(90_000)), None);
    // Woken by a message, it is silent.
    child.step(ChildEvent::Sent, ms(90_000));
    assert!(!child.rests());
    assert_eq!(ticks(&mut child, ms(90_000) + SILENT - ms(1)), None);
    assert_eq!(ticks(&mut child, ms(90_000) + SILENT), Some(ChildAction::Kill));
    // Or it speaks, and rests again.
    let mut child = Child::new(ms(0));
    start(&mut child, ms(0));
    for event in [ChildEvent::Rests, ChildEvent::Sent, ChildEvent::Heard, ChildEvent::Rests] {
        assert_eq!(child.step(event, ms(1_000)), None);
    }
    assert!(child.rests());
    assert_eq!(child.step(ChildEvent::StopWanted, ms(2_000)), Some(ChildAction::SendStop));
}

#[test]
fn a_resting_child_that_a_signal_stops_is_asked_and_then_killed() {
    let mut child = Child::new(ms(0));
    start(&mut child, ms(0));
    assert_eq!(child.step(ChildEvent::Halted, ms(500)), None, "it is expected to be heard anyway");
    child.step(ChildEvent::Rests, ms(1_000));
    assert_eq!(ticks(&mut child, ms(5_000)), None);
    assert_eq!(child.step(ChildEvent::Halted, ms(5_000)), Some(ChildAction::Ping));
    assert_eq!(ticks(&mut child, ms(5_000) + SILENT), Some(ChildAction::Kill));
}
