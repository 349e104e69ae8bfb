//! What a policy's decision costs at the host's interface, beside a native function that decides the same.
//!
//! `policy_calls ROUNDS TENANT_KEY TWO_FIELDS`: the components of `plugins/tenant-key` and of the guest `two-fields`. A line for
//! each round: nanoseconds of the native function that decides as the first does, of a remembered decision of it, of a call of
//! a reused instance of it, and of such a call of the second.

#![expect(clippy::print_stdout, reason = "who started it reads the figures")]

use std::{hint::black_box, process::ExitCode, rc::Rc, time::Instant};

use plugin_host::{Engine, Forward, Instances, Limits, LookUp, RequestDecision};

#[path = "../tenant_key.rs"]
mod tenant_key;

type Error = Box<dyn std::error::Error>;

/// What the policy reads: the tenant and `accept-language`, as a browser sends it.
const VALUES: [Option<&str>; 2] = [Some("acme"), Some("de-AT,de;q=0.9,en;q=0.8")];
const SETTINGS: &str = r#"{ "languages": ["en", "de"] }"#;
/// The tenant, and what it pays for: two key parts as they are.
const FLAT_VALUES: [Option<&str>; 2] = [Some("acme"), Some("gold")];
/// Of each in a round: long enough that the clock does not show, together some tenths of a second.
const NATIVE_CALLS: u32 = 400_000;
const REMEMBERED_CALLS: u32 = 1_000_000;
const CALLS: u32 = 100_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("policy_calls: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().ok_or("ROUNDS is missing")?.parse::<u32>()?;
    let tenant_key = std::fs::read(arguments.next().ok_or("TENANT_KEY is missing")?)?;
    let two_fields = std::fs::read(arguments.next().ok_or("TWO_FIELDS is missing")?)?;
    let engine = Engine::new(Limits::default())?;
    let policy = engine.load("tenant-key", &tenant_key, &serde_json::from_str(SETTINGS)?)?;
    let flat = engine.load("two-fields", &two_fields, &serde_json::from_str("{}")?)?;
    let mut instances = Instances::new();
    let offered = ["en", "de"].map(str::to_owned);

    let native = decide(&VALUES, &offered);
    let called = instances.call_on_request(&policy, &VALUES)?;
    if Some(&*called) != native.as_deref() {
        return Err(format!("the policy decides {called:?}, the native function {native:?}").into());
    }
    let called = instances.call_on_request(&flat, &FLAT_VALUES)?;
    if *called != look_up(FLAT_VALUES.into_iter().flatten(), None) {
        return Err(format!("two-fields decides {called:?}").into());
    }
    // The first one is for the caches and the branch predictors.
    for round in 0..=rounds {
        let native_ns = timed(NATIVE_CALLS, || {
            black_box(decide(black_box(&VALUES), &offered));
            Ok(())
        })?;
        let remembered_ns = timed(REMEMBERED_CALLS, || {
            black_box(instances.on_request(&policy, black_box(&VALUES))?);
            Ok(())
        })?;
        let call_ns = timed(CALLS, || {
            black_box(instances.call_on_request(&policy, black_box(&VALUES))?);
            Ok(())
        })?;
        let flat_ns = timed(CALLS, || {
            black_box(instances.call_on_request(&flat, black_box(&FLAT_VALUES))?);
            Ok(())
        })?;
        if round > 0 {
            println!("{native_ns:.1} {remembered_ns:.1} {call_ns:.1} {flat_ns:.1}");
        }
    }
    Ok(())
}

/// Nanoseconds of one call.
#[expect(clippy::disallowed_methods, reason = "time is what is measured here")]
fn timed(calls: u32, mut call: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let start = Instant::now();
    for _ in 0..calls {
        call()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls))
}

/// What the policy decides, as a part of the program would.
fn decide(values: &[Option<&str>; 2], offered: &[String]) -> Option<Rc<RequestDecision>> {
    let (tenant, language) = tenant_key::key_parts(values[0], values[1], offered)?;
    let tag = tenant.starts_with("tenant:").then_some(&*tenant);
    Some(Rc::new(look_up([&*tenant, language].into_iter(), tag)))
}

fn look_up<'a>(key_parts: impl Iterator<Item = &'a str>, tag: Option<&str>) -> RequestDecision {
    let key_parts = key_parts.map(Into::into).collect();
    RequestDecision::LookUp(LookUp {
        key_parts,
        tags: tag.map(Into::into).into_iter().collect(),
        forward: Forward::default(),
    })
}
