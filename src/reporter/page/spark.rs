//! The lines of the last hour. Pure.

use super::text::Text;
use crate::figures;
use crate::reporter::history::POINTS;
use maud::{Markup, html};
use std::fmt::Write;

/// The width of a line in its own units: one for a minute.
const WIDTH: usize = 60;
/// The height of a line in its own units, without a unit above and below.
const HEIGHT: u32 = 18;
/// The lag that is as good as none.
const LEAST_MS: u32 = 100;
/// What the top of the scale may be.
const TOPS_MS: [u32; 5] = [10_000, 60_000, 600_000, 3_600_000, 86_400_000];

/// The scale of every line of lag on the page, so that they can be compared. It is logarithmic: a tenth of a second and
/// an hour are both seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    top_ms: u32,
}

impl Scale {
    /// A scale on which this lag, the largest, is seen.
    pub fn for_lag(largest_ms: u32) -> Self {
        let top = TOPS_MS.into_iter().find(|top_ms| *top_ms >= largest_ms);
        Self { top_ms: top.unwrap_or(u32::MAX) }
    }

    /// What it reaches from and to, in words.
    pub fn words(self) -> String {
        format!("{} to {}", figures::seconds(LEAST_MS.into()), short(self.top_ms.into()))
    }

    /// The height of a lag above the ground.
    fn height(self, ms: u32) -> u32 {
        let of = |ms: u32| f64::from(ms.max(LEAST_MS)).ln() - f64::from(LEAST_MS).ln();
        (of(ms) / of(self.top_ms) * f64::from(HEIGHT)).round().min(f64::from(HEIGHT)) as u32
    }

    /// A line at a lag, if it is on the scale.
    fn mark(self, ms: u64) -> Option<String> {
        let ms = u32::try_from(ms).ok().filter(|ms| *ms < self.top_ms)?;
        Some(format!("M0 {}h{WIDTH}", HEIGHT + 1 - self.height(ms)))
    }
}

/// Like `10 s`, for a round number.
fn short(ms: u64) -> String {
    if ms < 60_000 { format!("{} s", ms / 1_000) } else { figures::span(ms) }
}

/// The lag of the last hour, with the present at the right, and a line at the lag that is too much.
pub fn lag(points: &[Option<u32>], scale: Scale, too_much_ms: u64) -> Markup {
    let most = points.iter().flatten().copied().max();
    let words = match most {
        Some(ms) => format!("lag of the last hour, at most {}", figures::seconds(ms.into())),
        None => "lag not known".to_owned(),
    };
    let line = line(&minutes(points), |ms| scale.height(ms));
    html! {
        svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT + 2) } preserveAspectRatio="none" role="img" aria-label=(words) {
            @if let Some(mark) = scale.mark(too_much_ms) { path.mark d=(mark) {} }
            path d=(line) {}
        }
    }
}

/// The bytes per second of the last hour, on a scale of their own.
pub fn rate(points: &[Option<u64>]) -> Markup {
    let most = points.iter().flatten().copied().max().unwrap_or(0);
    let words = format!("throughput of the last hour, at most {}/s", figures::bytes(most));
    // Nothing sent is on the ground, and little is seen above it.
    let height = |n: u64| (n.saturating_mul(u64::from(HEIGHT))).div_ceil(most.max(1)) as u32;
    html! {
        svg.spark.wide viewBox={ "0 0 " (WIDTH) " " (HEIGHT + 2) } preserveAspectRatio="none" role="img" aria-label=(Text(words)) {
            path d=(line(&minutes(points), height)) {}
        }
    }
}

/// The largest of several lines at each point. They end at the same time, the present.
pub fn largest(all: &[Vec<Option<u32>>]) -> Vec<Option<u32>> {
    let length = all.iter().map(Vec::len).max().unwrap_or(0);
    let mut most = vec![None; length];
    for points in all {
        for (most, point) in most[length - points.len()..].iter_mut().zip(points) {
            *most = (*most).max(*point);
        }
    }
    most
}

/// The largest of each minute, the present at the end.
fn minutes<T: Copy + Ord>(points: &[Option<T>]) -> [Option<T>; WIDTH] {
    let each = POINTS / WIDTH;
    let first = POINTS - points.len().min(POINTS);
    let mut all = [None; WIDTH];
    for (n, point) in points.iter().enumerate() {
        let minute = &mut all[((first + n) / each).min(WIDTH - 1)];
        *minute = (*minute).max(*point);
    }
    all
}

/// The minutes as steps on the ground; those without a value are gaps. What stays the same is one stroke.
fn line<T: Copy>(minutes: &[Option<T>; WIDTH], height: impl Fn(T) -> u32) -> String {
    let heights: Vec<Option<u32>> = minutes.iter().map(|m| m.map(&height)).collect();
    let ground = HEIGHT + 1;
    let (mut path, mut at) = (String::new(), None);
    let mut rest = &heights[..];
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|h| *h == first).count();
        let x = WIDTH - rest.len();
        // Writing to a string cannot fail.
        let _ = match (at, first) {
            (None, None) => Ok(()),
            (Some(_), None) => write!(path, "V{ground}"),
            (None, Some(h)) => write!(path, "M{x} {ground}V{}h{run}", ground - h),
            (Some(_), Some(h)) => write!(path, "V{}h{run}", ground - h),
        };
        at = *first;
        rest = &rest[run..];
    }
    if at.is_some() {
        let _ = write!(path, "V{ground}");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_the_same_scale() {
        let scale = Scale::for_lag(12_000);
        assert_eq!((scale.words().as_str(), scale.height(0)), ("0.1 s to 1 min", 0));
        let heights = [100, 1_000, 12_000, 60_000, 1 << 30].map(|ms| scale.height(ms));
        assert_eq!(heights, [0, 6, 13, 18, 18]);
        assert_eq!(Scale::for_lag(0), Scale::for_lag(10_000));
        assert_eq!(Scale::for_lag(u32::MAX).height(u32::MAX), HEIGHT);
        // What is drawn does not depend on the other points.
        let at = |points: &[Option<u32>]| lag(points, scale, 60_000).into_string();
        assert!(at(&[Some(1_000)]).contains("d=\"M59 19V13h1V19\""), "{}", at(&[Some(1_000)]));
        let both: Vec<_> = [Some(12_000); 6].into_iter().chain([Some(1_000); 6]).collect();
        assert!(at(&both).contains("d=\"M58 19V6h1V13h1V19\""), "{}", at(&both));
    }

    #[test]
    fn missing_samples_leave_gaps_and_the_present_is_at_the_right() {
        let hour = vec![Some(0); POINTS];
        assert_eq!(line(&minutes(&hour), |n: u32| n), "M0 19V19h60V19");
        let mut gap = hour.clone();
        gap[60..180].fill(None);
        assert_eq!(line(&minutes(&gap), |n: u32| n), "M0 19V19h10V19M30 19V19h30V19");
        assert_eq!(line(&minutes::<u32>(&[]), |n| n), "");
        assert!(lag(&[], Scale::for_lag(0), 1).into_string().contains("lag not known"));
    }

    #[test]
    fn the_lag_that_is_too_much_is_marked_if_it_is_on_the_scale() {
        let text = |largest| lag(&[], Scale::for_lag(largest), 60_000).into_string();
        assert!(text(100_000).contains("<path class=\"mark\" d=\"M0 6h60\">"), "{}", text(100_000));
        assert!(!text(1_000).contains("mark"));
    }

    #[test]
    fn a_localpath_has_the_largest_lag_of_its_remotes() {
        let all = [vec![Some(1), None, Some(3)], vec![Some(4), Some(2)], vec![]];
        assert_eq!(largest(&all), [Some(1), Some(4), Some(3)]);
        assert_eq!(largest(&[]), []);
    }
}
