//! `larder policy bench`: what one call costs, by how the instance came to be and by the shape of what is put to it.

use std::{
    hint::black_box,
    io::Write,
    time::{Duration, Instant},
};

use plugin_host::{Fault, Inputs, Instances, Policy};

use super::{ToolError, case_files, engine, read_component};
use crate::cli::PolicyBench;

/// How long one round of one row runs: long enough for the clock, short enough that all of it takes seconds.
const ROUND: Duration = Duration::from_millis(40);
/// No more rows than a person reads.
const SHAPES_MAX: usize = 12;
/// Calls between two looks at the clock.
const BATCH: u32 = 16;

/// What is put to the policy, owned.
struct Shape {
    title: String,
    policy: Policy,
    request: Vec<Option<String>>,
    response: Option<(u16, Vec<Option<String>>)>,
}

/// Prints nanoseconds per call, medians of rounds, a row for each shape of input and each export.
///
/// # Errors
/// The component or a case cannot be read, the policy does not load, or faults: then there is nothing to measure.
pub fn bench(wanted: &PolicyBench, out: &mut dyn Write) -> Result<(), ToolError> {
    let wasm = read_component(&wanted.file)?;
    let name = wanted.file.display().to_string();
    let engine = engine()?;
    let shapes = match &wanted.cases {
        Some(cases) => {
            let mut shapes = Vec::new();
            let mut loader = super::Loader::new(engine, name, wasm);
            for file in case_files::read(cases)? {
                for case in &file.cases {
                    if shapes.len() == SHAPES_MAX {
                        break;
                    }
                    let policy = loader.load(case.settings())?;
                    let values = case.values(policy.inputs())?;
                    let response = values
                        .response
                        .as_ref()
                        .map(|(status, values)| (*status, owned(&values.as_slices())));
                    let request = owned(&values.request.as_slices());
                    shapes.push(Shape { title: case.to_string(), policy, request, response });
                }
            }
            shapes
        }
        None => {
            let settings = serde_json::from_str(&wanted.settings).map_err(ToolError::Settings)?;
            made_up(&engine.load(&name, &wasm, &settings)?)
        }
    };
    writeln!(
        out,
        "nanoseconds per call, median of {} rounds; fresh: a new instance and its first call",
        wanted.rounds
    )?;
    writeln!(out, "{:>12} {:>10} {:>10}  {:8}  input", "fresh", "reused", "remembered", "export")?;
    for shape in &shapes {
        let request = borrowed(&shape.request);
        if shape.policy.decides_requests() {
            let row = Row::measure(
                wanted.rounds,
                |instances| {
                    instances
                        .call_on_request(&shape.policy, &request)
                        .map(|decision| drop(black_box(decision)))
                },
                |instances| {
                    instances.on_request(&shape.policy, &request).map(|decision| drop(black_box(decision)))
                },
            )?;
            row.print("request", &shape.title, out)?;
        }
        if let Some((status, response)) = &shape.response
            && shape.policy.decides_responses()
        {
            let response = borrowed(response);
            let policy = &shape.policy;
            let row = Row::measure(
                wanted.rounds,
                |instances| {
                    instances
                        .call_on_response(policy, *status, &request, &response)
                        .map(|decision| drop(black_box(decision)))
                },
                |instances| {
                    instances
                        .on_response(policy, *status, &request, &response)
                        .map(|decision| drop(black_box(decision)))
                },
            )?;
            row.print("response", &shape.title, out)?;
        }
    }
    if shapes.iter().any(|shape| shape.policy.inputs().time) {
        writeln!(out, "it reads the time: nothing is remembered")?;
    }
    Ok(())
}

/// Without cases: nothing there, everything there and short, everything there and long.
fn made_up(policy: &Policy) -> Vec<Shape> {
    let Inputs { time, ttl, .. } = policy.inputs();
    let (count, response_count) = (policy.inputs().request_values(), policy.inputs().response_values());
    let shape = |title: &str, value: Option<String>| {
        let mut request = vec![value.clone(); count];
        let mut response = vec![value; response_count];
        // Numbers in decimal, the last ones: a policy may rely on it.
        if *time && let Some(time) = request.iter_mut().rev().nth(usize::from(policy.inputs().decided)) {
            *time = Some("1767225600".to_owned());
        }
        if policy.inputs().decided
            && let Some(decided) = request.last_mut()
        {
            *decided = Some("look-up".to_owned());
        }
        if *ttl && let Some(ttl) = response.last_mut() {
            *ttl = ttl.as_ref().map(|_| "60000".to_owned());
        }
        Shape { title: title.to_owned(), policy: policy.clone(), request, response: Some((200, response)) }
    };
    vec![
        shape("nothing there", None),
        shape("all there, 8 bytes each", Some("abcdefgh".to_owned())),
        shape("all there, 200 bytes each", Some("abcdefgh".repeat(25))),
    ]
}

fn owned(values: &[Option<&str>]) -> Vec<Option<String>> {
    values.iter().map(|value| value.map(str::to_owned)).collect()
}

fn borrowed(values: &[Option<String>]) -> Vec<Option<&str>> {
    values.iter().map(Option::as_deref).collect()
}

/// In nanoseconds.
struct Row {
    fresh: f64,
    reused: f64,
    remembered: f64,
}

impl Row {
    fn measure(
        rounds: u32,
        call: impl Fn(&mut Instances) -> Result<(), Fault>,
        remembered: impl Fn(&mut Instances) -> Result<(), Fault>,
    ) -> Result<Row, Fault> {
        let fresh = median(rounds, 1, || call(&mut Instances::patient()))?;
        let mut instances = Instances::patient();
        call(&mut instances)?;
        let reused = median(rounds, BATCH, || call(&mut instances))?;
        let remembered = median(rounds, BATCH, || remembered(&mut instances))?;
        Ok(Row { fresh, reused, remembered })
    }

    fn print(&self, export: &str, title: &str, out: &mut dyn Write) -> std::io::Result<()> {
        let Row { fresh, reused, remembered } = self;
        writeln!(out, "{fresh:>12.0} {reused:>10.0} {remembered:>10.0}  {export:8}  {title}")
    }
}

/// Nanoseconds of one call: the median over rounds of what it took on average in each.
#[expect(clippy::disallowed_methods, reason = "it is the time that is measured")]
fn median(rounds: u32, batch: u32, mut call: impl FnMut() -> Result<(), Fault>) -> Result<f64, Fault> {
    let mut of_rounds = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let mut calls = 0_u32;
        let took = loop {
            for _ in 0..batch {
                call()?;
            }
            calls = calls.saturating_add(batch);
            let took = began.elapsed();
            if took >= ROUND {
                break took;
            }
        };
        of_rounds.push(took.as_secs_f64() * 1e9 / f64::from(calls));
    }
    of_rounds.sort_by(f64::total_cmp);
    Ok(of_rounds.get(of_rounds.len() / 2).copied().unwrap_or_default())
}
