//! The curves of a study as one picture.

use std::collections::BTreeMap;

use plotters::prelude::*;

use super::Finished;
use crate::failure::Failure;

/// Pixels.
const SIZE: (u32, u32) = (960, 540);
/// One per backend, told apart by most eyes and in print.
const COLOURS: [RGBColor; 4] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// Mean, least and largest over the seeds of the mean return after so many updates.
struct Spread {
    update: f64,
    mean: f64,
    low: f64,
    high: f64,
}

/// Return against updates as SVG, one colour per backend: the mean over its seeds as a line, their spread as a band, every
/// seed as a thin line; what the random policy gets in grey.
///
/// # Errors
/// If nothing can be drawn.
pub fn svg(title: &str, runs: &[Finished], random: f64) -> Result<String, Failure> {
    let mut text = String::new();
    draw(&mut text, title, runs, random).map_err(|error| Failure::machine(format!("cannot draw the curves: {error}")))?;
    Ok(text)
}

fn draw(text: &mut String, title: &str, runs: &[Finished], random: f64) -> Result<(), Box<dyn std::error::Error>> {
    let mut labels: Vec<&str> = Vec::new();
    for run in runs {
        if !labels.contains(&run.backend.as_str()) {
            labels.push(&run.backend);
        }
    }
    let last = runs.iter().map(|run| run.updates).max().unwrap_or(1) as f64;
    let means = || runs.iter().flat_map(|run| run.points()).map(|point| point.mean).chain([random]);
    let (low, high) = (means().fold(f64::INFINITY, f64::min), means().fold(f64::NEG_INFINITY, f64::max));
    let margin = 0.05 * (high - low).max(1e-9);
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last, low - margin..high + margin)?;
    let whole = |x: &f64| format!("{x:.0}");
    let coarse = high - low >= 10.0;
    let fitting = |y: &f64| if coarse { format!("{y:.0}") } else { format!("{y:.2}") };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("updates")
        .y_desc("return")
        .x_label_formatter(&whole)
        .y_label_formatter(&fitting)
        .draw()?;
    let grey = RGBColor(120, 120, 120);
    chart
        .draw_series(LineSeries::new([(0.0, random), (last, random)], grey))?
        .label("random policy")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], grey));
    for (i, label) in labels.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let own = || runs.iter().filter(|run| run.backend == *label);
        let spread = spread(own());
        let edge = spread.iter().map(|s| (s.update, s.high)).chain(spread.iter().rev().map(|s| (s.update, s.low)));
        chart.draw_series([Polygon::new(edge.collect::<Vec<_>>(), colour.mix(0.15))])?;
        for run in own() {
            chart.draw_series(LineSeries::new(run.points().map(|p| (p.update as f64, p.mean)), colour.mix(0.35)))?;
        }
        chart
            .draw_series(LineSeries::new(spread.iter().map(|s| (s.update, s.mean)), colour.stroke_width(3)))?
            .label(format!("{label}: mean and spread of {}", crate::output::counted(own().count(), "seed")))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        chart.draw_series(spread.iter().map(|s| Circle::new((s.update, s.mean), 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

fn spread<'a>(runs: impl Iterator<Item = &'a Finished>) -> Vec<Spread> {
    let mut at: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for point in runs.flat_map(Finished::points) {
        at.entry(point.update).or_default().push(point.mean);
    }
    let spread = |(update, means): (usize, Vec<f64>)| Spread {
        update: update as f64,
        mean: means.iter().sum::<f64>() / means.len() as f64,
        low: means.iter().copied().fold(f64::INFINITY, f64::min),
        high: means.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    };
    at.into_iter().map(spread).collect()
}
