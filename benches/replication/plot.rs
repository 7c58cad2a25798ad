//! Lags over time, as an SVG.

use crate::work::Lag;
use plotters::coord::Shift;
use plotters::prelude::*;

/// The lags of one system.
pub struct Series<'l> {
    pub name: &'static str,
    pub lags: &'l [Lag],
}

/// Differ by their lightness, too.
const COLORS: [RGBColor; 4] =
    [RGBColor(20, 40, 110), RGBColor(214, 84, 0), RGBColor(90, 180, 230), RGBColor(120, 120, 120)];
const SIZE: (u32, u32) = (860, 420);
/// No more points than a line shows.
const POINTS: f64 = 240.0;
/// The least time of a point.
const POINT_S: f64 = 0.05;
const FONT: &str = "sans-serif";

/// The SVG: of each system the median and the maximum of every 50 ms, or longer in a long stream.
pub fn svg(title: &str, all: &[Series<'_>]) -> Result<String, String> {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    draw(&area, title, all).map_err(|e| e.to_string())?;
    drop(area);
    Ok(text)
}

fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    all: &[Series<'_>],
) -> Result<(), Box<dyn std::error::Error>> {
    // Pages may be dark.
    area.fill(&WHITE)?;
    let lags = || all.iter().flat_map(|series| series.lags);
    let end_s = lags().map(|lag| lag.at_s).fold(1.0, f64::max);
    let (least, most) = lags()
        .map(|lag| lag.lag_s * 1e3)
        .fold((10.0, 100.0), |(least, most): (f64, f64), ms| (least.min(ms), most.max(ms)));
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        // Above the lines is room for their names.
        .build_cartesian_2d(0.0..end_s, (least.max(0.1)..most * 4.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("seconds since the start of the stream")
        .y_desc("lag, milliseconds")
        .x_label_formatter(&|s| format!("{s}"))
        .y_labels(30)
        .y_label_formatter(&|ms| tick(*ms))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .max_light_lines(0)
        .bold_line_style(RGBColor(220, 220, 220))
        .draw()?;
    for (series, color) in all.iter().zip(COLORS) {
        let points = thinned(series.lags, (end_s / POINTS).max(POINT_S));
        let medians = points.iter().map(|point| (point.at_s, point.median_ms));
        let maxima = points.iter().map(|point| (point.at_s, point.most_ms));
        chart.draw_series(LineSeries::new(maxima, color.mix(0.45)))?;
        chart
            .draw_series(LineSeries::new(medians, color.stroke_width(2)))?
            .label(format!("{}, median; thin: maximum", series.name))
            .legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], color.stroke_width(2))
            });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .label_font((FONT, 13))
        .draw()?;
    area.present()?;
    Ok(())
}

/// Numbers such as 10, 20 and 50: those between them would overlap.
fn tick(ms: f64) -> String {
    let digit = (ms / 10_f64.powf(ms.log10().floor())).round() as u32;
    if matches!(digit, 1 | 2 | 5 | 10) { format!("{ms}") } else { String::new() }
}

/// The lags of the changes of a short time.
struct Point {
    at_s: f64,
    median_ms: f64,
    most_ms: f64,
}

/// One point for each of these times. The lags are in the order of the writes.
fn thinned(lags: &[Lag], every_s: f64) -> Vec<Point> {
    let number = |lag: &Lag| (lag.at_s / every_s) as u64;
    let point = |lags: &[Lag]| {
        let mut ms: Vec<f64> = lags.iter().map(|lag| lag.lag_s * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let at_s = (number(lags.first()?) as f64 + 0.5) * every_s;
        // A logarithm of 0 is none.
        let ms = |n: usize| ms.get(n).map(|ms| ms.max(0.1));
        Some(Point { at_s, median_ms: ms(lags.len() / 2)?, most_ms: ms(lags.len() - 1)? })
    };
    lags.chunk_by(|a, b| number(a) == number(b)).filter_map(point).collect()
}
