//! A world map of dots: each city in the colour of the site that serves it.

use std::fmt::Write;

use pop_route::{Location, Site, SiteId, SiteMap};

const WIDTH: f64 = 1440.0;
const PANEL: f64 = 640.0;
const TITLE: f64 = 44.0;
const LEGEND: f64 = 176.0;
/// The size of letters beside sites.
const LETTERS: f64 = 13.0;
/// Latitudes shown: people live between them.
const NORTH: f64 = 78.0;
const SOUTH: f64 = -58.0;

/// One map with its title: where each city goes, and which site is away.
pub(crate) struct Panel<'a> {
    pub(crate) title: String,
    pub(crate) cities: Vec<(Location, f64, Option<SiteId>)>,
    pub(crate) away: Option<SiteId>,
    pub(crate) shares: &'a dyn Fn(SiteId) -> f64,
}

/// Hues five steps apart, for sites that follow each other in the list are often neighbours on the map; alternating in
/// lightness, none too dark for the background; in the one notation that every viewer knows.
fn colour(site: SiteId, sites: usize) -> String {
    let hue = (site.index() * 5 % sites) as f64 * 12.0 / sites as f64;
    let (lightness, saturation) = (if site.index().is_multiple_of(2) { 0.70 } else { 0.56 }, 0.72);
    let spread = saturation * f64::min(lightness, 1.0 - lightness);
    let channel = |offset: f64| {
        let turned = (offset + hue) % 12.0;
        let level = lightness - spread * f64::min(turned - 3.0, 9.0 - turned).clamp(-1.0, 1.0);
        (level * 255.0).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", channel(0.0), channel(8.0), channel(4.0))
}

fn position(location: Location) -> (f64, f64) {
    let x = (location.longitude() + 180.0) / 360.0 * WIDTH;
    let y = (NORTH - location.latitude()) / (NORTH - SOUTH) * PANEL;
    (x, y)
}

/// The whole picture.
pub(crate) fn draw(sites: &SiteMap, panels: &[Panel<'_>]) -> String {
    let height = (PANEL + TITLE) * panels.len() as f64 + LEGEND;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"Helvetica,Arial,sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#10151f\"/>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        let top = index as f64 * (PANEL + TITLE);
        let _ = writeln!(
            svg,
            "<text x=\"24\" y=\"{}\" font-size=\"22\" fill=\"#e8edf5\">{}</text>",
            top + 30.0,
            panel.title
        );
        let _ = writeln!(svg, "<g transform=\"translate(0,{})\">", top + TITLE);
        grid(&mut svg);
        dots(&mut svg, sites, panel);
        marks(&mut svg, sites, panel);
        svg.push_str("</g>\n");
    }
    legend(&mut svg, sites, panels, height - LEGEND);
    svg.push_str("</svg>\n");
    svg
}

fn grid(svg: &mut String) {
    let _ = writeln!(svg, "<rect width=\"{WIDTH}\" height=\"{PANEL}\" fill=\"#151c29\"/>");
    for step in 1..12 {
        let x = f64::from(step) * WIDTH / 12.0;
        let _ = writeln!(svg, "<path d=\"M{x} 0V{PANEL}\" stroke=\"#222c3d\" stroke-width=\"1\"/>");
    }
    for latitude in [60.0, 30.0, 0.0, -30.0] {
        let y = (NORTH - latitude) / (NORTH - SOUTH) * PANEL;
        let _ = writeln!(svg, "<path d=\"M0 {y:.1}H{WIDTH}\" stroke=\"#222c3d\" stroke-width=\"1\"/>");
    }
}

/// A path of points for each site and size: round caps of no length are dots.
fn dots(svg: &mut String, sites: &SiteMap, panel: &Panel<'_>) {
    for (width, least, most) in [(1.6, 0.0, 1e5), (2.6, 1e5, 1e6), (5.0, 1e6, f64::INFINITY)] {
        for (site, _) in sites.iter() {
            let mut path = String::new();
            for (location, people, served) in &panel.cities {
                if *served == Some(site) && (least..most).contains(people) {
                    let (x, y) = position(*location);
                    let _ = write!(path, "M{x:.1} {y:.1}h0");
                }
            }
            if !path.is_empty() {
                let colour = colour(site, sites.len());
                let _ = writeln!(
                    svg,
                    "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linecap=\"round\"/>"
                );
            }
        }
    }
}

fn marks(svg: &mut String, sites: &SiteMap, panel: &Panel<'_>) {
    for (site, place) in sites.iter() {
        let (x, y) = position(place.location());
        let colour = colour(site, sites.len());
        if panel.away == Some(site) {
            let _ = writeln!(
                svg,
                "<path d=\"M{:.1} {:.1}l16 16m0 -16l-16 16\" stroke=\"#ffffff\" stroke-width=\"4\"/>",
                x - 8.0,
                y - 8.0
            );
        } else {
            let radius = radius((panel.shares)(site));
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{colour}\" fill-opacity=\"0.35\" stroke=\"#ffffff\" stroke-width=\"1.5\"/>"
            );
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#ffffff\"/>");
        }
    }
    let circles: Vec<(f64, f64, f64)> = sites
        .iter()
        .map(|(site, place)| {
            let (x, y) = position(place.location());
            (x, y, radius((panel.shares)(site)))
        })
        .collect();
    let mut taken = Vec::new();
    for (site, place) in sites.iter() {
        let (x, y) = label(place, circles[site.index()].2, &circles, &mut taken);
        // The outline first: not every viewer knows how to paint it below the letters.
        for paint in ["fill=\"none\" stroke=\"#10151f\" stroke-width=\"4\"", "fill=\"#ffffff\""] {
            let name = place.name();
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{LETTERS}\" {paint}>{name}</text>"
            );
        }
    }
}

/// The size of the circle of a site that serves this part of all users.
fn radius(share: f64) -> f64 {
    6.0 + 22.0 * share.sqrt()
}

/// Where a site's name is written: beside its circle, in the first place that no other name and no circle has taken.
fn label(
    place: &Site,
    radius: f64,
    circles: &[(f64, f64, f64)],
    taken: &mut Vec<(f64, f64, f64)>,
) -> (f64, f64) {
    let (x, y) = position(place.location());
    let (width, beside, middle) =
        (place.name().len() as f64 * LETTERS * 0.56, radius + 4.0, y + LETTERS * 0.35);
    let places = [
        (x + beside, middle),
        (x - beside - width, middle),
        (x - width / 2.0, y - beside),
        (x - width / 2.0, y + beside + LETTERS * 0.8),
        (x + beside, y - beside),
        (x + beside, y + beside + LETTERS * 0.8),
        (x - beside - width, y - beside),
        (x - beside - width, y + beside + LETTERS * 0.8),
    ];
    let is_free = |&(left, line): &(f64, f64)| {
        let apart = |&(other, other_line, other_width): &(f64, f64, f64)| {
            left > other + other_width || left + width < other || (line - other_line).abs() > LETTERS
        };
        let outside = |&(x, y, radius): &(f64, f64, f64)| {
            let (across, down) = (x.clamp(left, left + width) - x, y.clamp(line - LETTERS * 0.8, line) - y);
            across.hypot(down) > radius
        };
        left >= 0.0 && left + width <= WIDTH && taken.iter().all(apart) && circles.iter().all(outside)
    };
    let (left, line) = places.into_iter().find(is_free).unwrap_or(places[0]);
    taken.push((left, line, width));
    (left, line)
}

fn legend(svg: &mut String, sites: &SiteMap, panels: &[Panel<'_>], top: f64) {
    let columns = 4;
    let _ = writeln!(
        svg,
        "<text x=\"24\" y=\"{}\" font-size=\"15\" fill=\"#8b98ad\">A dot is a city, in the colour of the site that \
         serves it; a circle grows with the part of all users that its site serves, told here before → after.</text>",
        top + 28.0
    );
    for (site, place) in sites.iter() {
        let (column, row) = (site.index() % columns, site.index() / columns);
        let (x, y) = (24.0 + column as f64 * 352.0, top + 60.0 + row as f64 * 30.0);
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"{}\" r=\"7\" fill=\"{}\"/>",
            y - 5.0,
            colour(site, sites.len())
        );
        let shares: Vec<String> =
            panels.iter().map(|panel| format!("{:.1} %", (panel.shares)(site) * 100.0)).collect();
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{y}\" font-size=\"15\" fill=\"#c9d3e3\">{}  {}</text>",
            x + 16.0,
            place.name(),
            shares.join(" → ")
        );
    }
}
