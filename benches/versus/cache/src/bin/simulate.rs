//! Hit ratios of policies and peers on traces, and how far each stays below the best peer.
//!
//! `simulate [--only NAME,…] [--sizes PERCENT,…] [--csv FILE] [--synthetic] FILE…`

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use versus_cache::peers::{PEERS, Simulated, peer};
use versus_cache::policy::{POLICIES, policy};
use versus_cache::trace::Trace;

/// Cache sizes in per cent of the trace's footprint.
const SIZES: [f64; 7] = [0.1, 0.5, 1.0, 5.0, 10.0, 25.0, 50.0];
/// Below this many entries a size is left out: the ratio says nothing of the policy.
const ENTRIES_MIN: usize = 8;

struct Options {
    names: Vec<String>,
    sizes: Vec<f64>,
    csv: Option<String>,
    regret: bool,
    traces: Vec<Trace>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        names: PEERS.iter().chain(&POLICIES).map(ToString::to_string).collect(),
        sizes: SIZES.to_vec(),
        csv: None,
        regret: false,
        traces: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match &*argument {
            "--only" => options.names = value()?.split(',').map(String::from).collect(),
            "--sizes" => {
                let sizes: Result<_, _> = value()?.split(',').map(str::parse).collect();
                options.sizes = sizes.map_err(|error| format!("--sizes: {error}"))?;
            }
            "--regret" => options.regret = true,
            "--csv" => options.csv = Some(value()?),
            "--synthetic" => options.traces.extend(Trace::synthetic()),
            file => match Trace::read(Path::new(file)) {
                Ok(trace) => options.traces.push(trace),
                Err(error) => eprintln!("skipped {file}: {error}"),
            },
        }
    }
    Ok(options)
}

/// Hit ratios in per cent by (trace, size), by name.
type Ratios = BTreeMap<(String, usize), BTreeMap<String, f64>>;

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut ratios = read_csv(options.csv.as_deref());
    let mut wanted = Vec::new();
    for trace in &options.traces {
        for &size in &options.sizes {
            let capacity = (f64::from(trace.unique) * size / 100.0).round() as usize;
            if capacity < ENTRIES_MIN {
                continue;
            }
            let cell = (trace.name.clone(), capacity);
            for name in &options.names {
                let row = ratios.entry(cell.clone()).or_default();
                if !row.contains_key(name) {
                    row.insert(name.clone(), hit_percent(name, trace, capacity));
                }
            }
            wanted.push(cell);
        }
    }
    if let Some(file) = &options.csv {
        write_csv(file, &ratios);
    }
    report(&ratios, &wanted, &options.names, options.regret);
    ExitCode::SUCCESS
}

fn hit_percent(name: &str, trace: &Trace, capacity: usize) -> f64 {
    let mut cache: Box<dyn Simulated> = policy(name, capacity).unwrap_or_else(|| peer(name, capacity));
    let hits = trace.keys.iter().filter(|&&key| cache.request(key)).count();
    100.0 * hits as f64 / trace.keys.len() as f64
}

/// Ratios that an earlier run wrote down: peers need not run again for every new idea.
fn read_csv(file: Option<&str>) -> Ratios {
    let mut ratios = Ratios::new();
    let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        if let [trace, capacity, name, ratio] = fields[..]
            && let (Ok(capacity), Ok(ratio)) = (capacity.parse(), ratio.parse())
            && PEERS.contains(&name)
        {
            ratios.entry((trace.into(), capacity)).or_default().insert(name.into(), ratio);
        }
    }
    ratios
}

fn write_csv(file: &str, ratios: &Ratios) {
    let mut text = String::new();
    for ((trace, capacity), row) in ratios {
        for (name, ratio) in row {
            text += &format!("{trace},{capacity},{name},{ratio:.4}\n");
        }
    }
    if let Err(error) = std::fs::write(file, text) {
        eprintln!("{file}: {error}");
    }
}

fn report(ratios: &Ratios, cells: &[(String, usize)], names: &[String], regret_only: bool) {
    print!("{:<16} {:>8}", "trace", "entries");
    names.iter().for_each(|name| print!(" {:>12}", &name[..name.len().min(12)]));
    println!(" {:>12}", "best peer");
    let mut regrets = vec![Vec::new(); names.len()];
    for cell in cells {
        let row = &ratios[cell];
        let best = PEERS.iter().filter_map(|&peer| row.get(peer)).copied().fold(0.0, f64::max);
        print!("{:<16} {:>8}", cell.0, cell.1);
        for (name, regrets) in names.iter().zip(&mut regrets) {
            print!(" {:>12.2}", if regret_only { best - row[name] } else { row[name] });
            regrets.push(best - row[name]);
        }
        println!(" {best:>12.2}");
    }
    let line = |title: &str, of: &dyn Fn(&[f64]) -> f64| {
        print!("{title:<25}");
        regrets.iter().for_each(|regrets| print!(" {:>12.2}", of(regrets)));
        println!();
    };
    let count = cells.len() as f64;
    line("mean regret", &|regrets| regrets.iter().map(|regret| regret.max(0.0)).sum::<f64>() / count);
    line("worst regret", &|regrets| regrets.iter().copied().fold(0.0, f64::max));
    line("mean difference", &|regrets| -regrets.iter().sum::<f64>() / count);
}
