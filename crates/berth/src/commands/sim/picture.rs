//! Curves as SVG files.

use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::exit::{Status, failed};

const FONT: &str = "sans-serif";
const WIDTH: u32 = 860;
/// The height of one panel.
const HEIGHT: u32 = 400;
const TITLE_HEIGHT: u32 = 40;
/// Told apart by those who see few colours, too (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// A curve with what the legend calls it.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Curves with the same axes.
pub struct Panel {
    pub x: Axis,
    pub y: Axis,
    pub curves: Vec<Curve>,
}

/// What an axis shows, with its unit, and from where to where. What lies outside is left out.
pub struct Axis {
    pub name: &'static str,
    pub range: Range<f64>,
}

impl Axis {
    /// From 0 to the greatest of these.
    pub fn up_to(name: &'static str, values: impl Iterator<Item = f64>) -> Axis {
        let most = values.fold(0.0, f64::max);
        Axis { name, range: 0.0..if most > 0.0 { most } else { 1.0 } }
    }
}

/// Writes a picture of the panels, one below the other.
pub fn write(file: &Path, title: &str, panels: &[Panel]) -> anyhow::Result<()> {
    let mut svg = String::new();
    let name = file.display();
    draw(&mut svg, title, panels).map_err(|error| anyhow::anyhow!("cannot draw {name}: {error}"))?;
    fs::write(file, svg).map_err(|error| {
        failed(Status::Usage, format!("cannot write {name}: {error}: name a file in a folder that can be written"))
    })
}

fn draw(svg: &mut String, title: &str, panels: &[Panel]) -> Result<(), Box<dyn Error>> {
    let height = TITLE_HEIGHT + HEIGHT * u32::try_from(panels.len())?;
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let below = root.titled(title, (FONT, 20))?;
    for (area, panel) in below.split_evenly((panels.len(), 1)).iter().zip(panels) {
        draw_panel(area, panel)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel) -> Result<(), Box<dyn Error>> {
    let (x, y) = (&panel.x.range, &panel.y.range);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .set_label_area_size(LabelAreaPosition::Left, 66)
        .set_label_area_size(LabelAreaPosition::Bottom, 48)
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .x_desc(panel.x.name)
        .y_desc(panel.y.name)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for (curve, colour) in panel.curves.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        let inside = |(at, value): &(f64, f64)| (x.start..=x.end).contains(at) && (y.start..=y.end).contains(value);
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied().filter(inside), style))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    if panel.curves.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font((FONT, 14))
            .draw()?;
    }
    Ok(())
}

/// At a mark of an axis, without a tenth where there is none.
fn number(value: &f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_title_axes_legend_and_curves() {
        let curve = |name: &str| Curve { name: name.to_owned(), points: vec![(0.0, 1.0), (5.0, 9.0), (5.0, 99.0)] };
        let y = Axis { name: "taken, %", range: 0.0..10.0 };
        let panel =
            Panel { x: Axis::up_to("days", [2.0, 5.0].into_iter()), y, curves: vec![curve("cpu"), curve("<gpu>")] };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("picture.svg");
        write(&file, "A title", &[panel]).unwrap();
        let svg = fs::read_to_string(&file).unwrap();
        for part in ["<svg ", "A title", "days", "taken, %", "cpu", "&lt;gpu&gt;", "polyline", "</svg>"] {
            assert!(svg.contains(part), "{part}");
        }
        let error = write(&dir.path().join("none/picture.svg"), "", &[]).unwrap_err().to_string();
        assert!(error.contains("picture.svg: No such file"), "{error}");
    }
}
