//! Plots as SVG: axes, a legend, lines and bars, and below the title what was measured and where.

use core::error::Error;
use core::fmt;

use plotters::prelude::*;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 560;
const LINE: u32 = 18;
/// Of the legend.
const COLUMNS: usize = 3;
const FONT: &str = "sans-serif";

/// What is written around a plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it shows.
    pub title: String,
    /// Smaller lines below that: how, where and when.
    pub notes: Vec<String>,
    /// Of the horizontal axis.
    pub x: String,
    /// Of the vertical axis.
    pub y: String,
}

/// How something is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Up or down when there is something new, and level otherwise.
    Steps(Vec<(f64, f64)>),
    /// From one height to another, at a place.
    Bars(Vec<(f64, f64, f64)>),
    /// Marks.
    Points(Vec<(f64, f64)>),
}

/// One thing that is drawn, and what the legend calls it.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Red, green, blue.
    pub color: (u8, u8, u8),
    /// What it looks like.
    pub shape: Shape,
}

/// Why there is no plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlotError {
    /// No series has anything to show.
    Nothing,
    /// What the drawing library says.
    Drawing(String),
}

impl fmt::Display for PlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("there is nothing to draw"),
            Self::Drawing(why) => write!(f, "a plot could not be drawn: {why}"),
        }
    }
}

impl Error for PlotError {}

impl<E: Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::Drawing(error.to_string())
    }
}

/// The plot, as a document.
///
/// # Errors
/// There is nothing to draw, or it could not be drawn.
pub fn svg(frame: &Frame, series: &[Series]) -> Result<String, PlotError> {
    let (x_max, y_max) =
        series.iter().flat_map(corners).fold((0.0_f64, 0.0_f64), |(x, y), (px, py)| (x.max(px), y.max(py)));
    if x_max <= 0.0 || y_max <= 0.0 {
        return Err(PlotError::Nothing);
    }
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
        root.fill(&WHITE)?;
        let lines = |count: usize| LINE * u32::try_from(count).unwrap_or(0);
        let (above, rest) = root.split_vertically(lines(frame.notes.len() + 1) + 18);
        let (legend, below) = rest.split_vertically(lines(series.len().div_ceil(COLUMNS)) + 8);
        above.draw(&Text::new(
            frame.title.clone(),
            (16, 10),
            (FONT, 18).into_font().style(FontStyle::Bold),
        ))?;
        for (number, note) in (1..).zip(&frame.notes) {
            let style = (FONT, 12).into_font().color(&BLACK.mix(0.7));
            above.draw(&Text::new(note.clone(), (16, 14 + number * LINE.cast_signed()), style))?;
        }
        explain(&legend, series)?;
        let mut chart = ChartBuilder::on(&below)
            .margin(16)
            .margin_top(4)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..x_max * 1.02, 0.0..y_max * 1.05)?;
        chart
            .configure_mesh()
            .x_desc(frame.x.as_str())
            .y_desc(frame.y.as_str())
            .axis_desc_style((FONT, 14))
            .label_style((FONT, 12))
            .x_label_formatter(&|value| format!("{value:.0}"))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .draw()?;
        for Series { color, shape, .. } in series {
            let color = rgb(*color);
            match shape {
                Shape::Steps(points) => {
                    chart.draw_series([PathElement::new(steps(points), color.stroke_width(1))])?;
                }
                Shape::Bars(bars) => {
                    let bar = |(x, low, high): &(f64, f64, f64)| {
                        PathElement::new([(*x, *low), (*x, *high)], color.stroke_width(3))
                    };
                    chart.draw_series(bars.iter().map(bar))?;
                }
                Shape::Points(points) => {
                    let mark = |point: &(f64, f64)| TriangleMarker::new(*point, 5, color.filled());
                    chart.draw_series(points.iter().map(mark))?;
                }
            }
        }
        root.present()?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// What each series looks like and is called, beside each other.
fn explain(legend: &Area<'_>, series: &[Series]) -> Result<(), PlotError> {
    let (line, column) = (LINE.cast_signed(), (WIDTH - 16).cast_signed() / 3);
    for (number, Series { name, color, shape }) in series.iter().enumerate() {
        let place = |count: usize, step| i32::try_from(count).unwrap_or(0) * step;
        let (x, y) = (16 + place(number % COLUMNS, column), 8 + place(number / COLUMNS, line));
        let color = rgb(*color);
        match shape {
            Shape::Steps(_) => {
                legend.draw(&PathElement::new([(x, y), (x + 20, y)], color.stroke_width(1)))?;
            }
            Shape::Bars(_) => {
                legend.draw(&PathElement::new([(x + 10, y - 6), (x + 10, y + 6)], color.stroke_width(3)))?;
            }
            Shape::Points(_) => legend.draw(&TriangleMarker::new((x + 10, y), 5, color.filled()))?,
        }
        legend.draw(&Text::new(name.clone(), (x + 28, y - 7), (FONT, 13)))?;
    }
    Ok(())
}

fn rgb((red, green, blue): (u8, u8, u8)) -> RGBColor {
    RGBColor(red, green, blue)
}

/// The places that have to be within the axes.
fn corners(series: &Series) -> Vec<(f64, f64)> {
    match &series.shape {
        Shape::Steps(points) | Shape::Points(points) => points.clone(),
        Shape::Bars(bars) => bars.iter().map(|(x, _, high)| (*x, *high)).collect(),
    }
}

/// The corners of a staircase through these points.
fn steps(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::with_capacity(2 * points.len());
    for (x, y) in points {
        if let Some((_, before)) = corners.last() {
            corners.push((*x, *before));
        }
        corners.push((*x, *y));
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame {
            title: "What it shows".to_owned(),
            notes: vec!["where & when".to_owned()],
            x: "time (µs)".to_owned(),
            y: "bytes".to_owned(),
        }
    }

    fn series(shape: Shape) -> Series {
        Series { name: "one of them".to_owned(), color: (200, 80, 0), shape }
    }

    #[test]
    fn a_plot_says_what_it_shows_and_names_its_series() {
        let drawn = svg(&frame(), &[series(Shape::Bars(vec![(10.0, 0.0, 1_448.0)]))]).unwrap();
        for part in ["<svg", "What it shows", "where &amp; when", "time (µs)", "one of them", "#C85000"] {
            assert!(drawn.contains(part), "{part} is not in {drawn}");
        }
    }

    #[test]
    fn a_staircase_is_level_until_there_is_something_new() {
        assert_eq!(steps(&[(0.0, 1.0), (2.0, 5.0)]), [(0.0, 1.0), (2.0, 1.0), (2.0, 5.0)]);
    }

    #[test]
    fn nothing_is_not_drawn() {
        assert_eq!(svg(&frame(), &[series(Shape::Steps(Vec::new()))]), Err(PlotError::Nothing));
    }
}
