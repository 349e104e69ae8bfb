//! `cargo xtask bench targets`: the rates and response times that the performance guide asks for, on the data that ships at
//! full size. Primary, replica, worker and load share this machine. The load is paced (`paced.rs`); each kind runs by itself,
//! then all of them at once. No cache stands in between: every answer is made by Postgres.

use std::process::ExitCode;

use super::{
    database::{Data, System},
    paced::{self, Class, Request, Seen},
};
use crate::{Error, random::Random};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    data: Data,
    /// How long each load runs; what comes before it to warm up is not counted
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Rows of one bulk operation
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5000))]
    bulk_rows: u32,
    /// Which share of all rates is asked for, in percent
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    percent: u32,
}

const WARM_UP_SECONDS: u32 = 3;
/// Of the rate that is asked for: the last answers come after the last second.
const ENOUGH: f64 = 0.98;

/// What the guide asks for.
struct Target {
    name: &'static str,
    per_s: u32,
    p95_ms: f64,
    connections: u32,
}

const TARGETS: [Target; 4] = [
    Target { name: "reads", per_s: 1_000, p95_ms: 100.0, connections: 64 },
    Target { name: "writes", per_s: 500, p95_ms: 200.0, connections: 64 },
    Target { name: "aggregations", per_s: 100, p95_ms: 500.0, connections: 32 },
    Target { name: "bulk", per_s: 50, p95_ms: 2_000.0, connections: 32 },
];

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    let system = System::start(&options.data, &[])?;
    if !system.check()? {
        println!("the plans are not what they should be (above); measuring all the same");
    }
    let ids = Ids::read(&system)?;
    let request: [Box<dyn Fn(u64) -> Request + Sync>; 4] = [
        Box::new(|nth| ids.read_of(nth)),
        Box::new(|nth| ids.write_of(nth)),
        Box::new(|nth| ids.aggregation_of(nth)),
        Box::new(|nth| ids.bulk_of(nth, options.bulk_rows)),
    ];
    let classes: Vec<Class<'_>> = (TARGETS.iter().zip(&request))
        .map(|(target, request)| Class {
            name: target.name,
            per_s: (target.per_s * options.percent / 100).max(1),
            connections: target.connections,
            request,
            answered: &paced::unseen,
        })
        .collect();

    let mut is_met = true;
    for (target, class) in TARGETS.iter().zip(classes.chunks(1)) {
        paced::run(system.origin, class, WARM_UP_SECONDS);
        let seen = paced::run(system.origin, class, options.seconds);
        println!("\n{} alone", target.name);
        is_met &= report(class, &[target], &seen, options.seconds);
    }
    paced::run(system.origin, &classes, WARM_UP_SECONDS);
    let seen = paced::run(system.origin, &classes, options.seconds);
    println!("\nall at once");
    is_met &= report(&classes, &TARGETS.iter().collect::<Vec<_>>(), &seen, options.seconds);
    println!(
        "\n{} resources, {} rows in a bulk operation, {} s each: {}",
        options.data.resources,
        options.bulk_rows,
        options.seconds,
        if is_met { "all targets are met" } else { "not all targets are met" }
    );
    Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line for each, and whether all are as asked.
fn report(classes: &[Class<'_>], targets: &[&Target], seen: &[Seen], seconds: u32) -> bool {
    println!(
        "{:14} {:>8} {:>8} {:>7}   {:>8} {:>9} {:>9} {:>9} {:>9}",
        "", "asked/s", "seen/s", "failed", "p95 <", "p50 ms", "p95 ms", "p99 ms", "max ms"
    );
    let mut is_met = true;
    for ((class, target), seen) in classes.iter().zip(targets).zip(seen) {
        let p95_ms = seen.took.percentile_ms(0.95);
        let per_s = seen.per_s(seconds, target.p95_ms);
        let is_enough = per_s >= f64::from(class.per_s) * ENOUGH;
        let is_good = is_enough && p95_ms < target.p95_ms && seen.failures() == 0;
        println!(
            "{:14} {:>8} {:>8.0} {:>7}   {:>8.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2}  {}",
            class.name,
            class.per_s,
            per_s,
            seen.failures(),
            target.p95_ms,
            seen.took.percentile_ms(0.5),
            p95_ms,
            seen.took.percentile_ms(0.99),
            seen.took.percentile_ms(1.0),
            if is_good { "met" } else { "NOT MET" }
        );
        for (what, count) in &seen.failed {
            println!("    {count} of {what}");
        }
        is_met &= is_good;
    }
    is_met
}

/// What there is to ask for, all of it visible to everyone.
struct Ids {
    resources: Vec<String>,
    users: Vec<String>,
    teams: Vec<String>,
    chats: Vec<String>,
    /// Who writes in which chat.
    speakers: Vec<(String, String)>,
    versions: Vec<String>,
    runs: Vec<String>,
}

impl Ids {
    fn read(system: &System) -> Result<Ids, Error> {
        let visible = |table: &str, condition: &str| {
            let sql = format!("SELECT public_id FROM {table} WHERE {condition} ORDER BY id LIMIT 20000");
            system.column(&sql)
        };
        let pairs = "SELECT c.public_id || ' ' || u.public_id FROM chat_participants p JOIN chats c ON c.id = p.chat_id \
                     JOIN users u ON u.id = p.user_id WHERE NOT c.is_private AND NOT u.is_private AND p.chat_id % 3 = 0 \
                     ORDER BY p.id LIMIT 20000";
        let speakers = system.column(pairs)?;
        let speakers = speakers.iter().filter_map(|pair| pair.split_once(' '));
        Ok(Ids {
            resources: visible("resources", "NOT is_deleted AND NOT is_private AND id % 31 < 2")?,
            users: visible("users", "NOT is_private")?,
            teams: visible("teams", "NOT is_private")?,
            chats: visible("chats", "NOT is_private")?,
            speakers: speakers.map(|(chat, user)| (chat.to_owned(), user.to_owned())).collect(),
            versions: visible("resource_versions", "id % 37 = 0")?,
            runs: visible("runs", "id % 31 = 0")?,
        })
    }

    fn read_of(&self, nth: u64) -> Request {
        let mut random = Random(nth);
        let kind = ["Api", "Code", "Note", "Project", "Routine", "Standard"][random.below(6)];
        Request::get(match nth % 20 {
            0..=9 => format!("/resources/{}", random.skewed_of(&self.resources)),
            10..=11 => "/resources?limit=20".to_owned(),
            12..=13 => format!("/resources?limit=20&type={kind}"),
            14 => format!("/resources?limit=20&team={}", random.skewed_of(&self.teams)),
            15..=16 => format!("/users/{}", random.skewed_of(&self.users)),
            17 => format!("/users/{}/unread", random.skewed_of(&self.users)),
            18 => format!("/chats/{}/messages?limit=50", random.skewed_of(&self.chats)),
            _ => {
                let ids: Vec<&str> = (0..20).map(|_| random.skewed_of(&self.resources)).collect();
                format!("/resources/batch?ids={}", ids.join(","))
            }
        })
    }

    fn write_of(&self, nth: u64) -> Request {
        let mut random = Random(nth);
        let post = |target: String, body: String| Request { method: "POST", target, body };
        let patch = |target: String, body: String| Request { method: "PATCH", target, body };
        match nth % 10 {
            0..=1 => post("/resources".to_owned(), resource(&mut random, self)),
            2..=5 => {
                let target = format!("/resources/{}", random.skewed_of(&self.resources));
                patch(target, format!("{{\"score\": {}}}", random.below(1_000)))
            }
            6 => {
                let version = random.skewed_of(&self.versions);
                let user = random.skewed_of(&self.users);
                let body = format!(
                    "{{\"resourceVersion\": \"{version}\", \"user\": \"{user}\", \"name\": \"bench\", \"status\": \"Scheduled\"}}"
                );
                post("/runs".to_owned(), body)
            }
            7 => {
                let status = ["InProgress", "Completed", "Failed"][random.below(3)];
                patch(
                    format!("/runs/{}", random.skewed_of(&self.runs)),
                    format!("{{\"status\": \"{status}\"}}"),
                )
            }
            _ => {
                let (chat, user) = &self.speakers[random.below(self.speakers.len())];
                post(
                    format!("/chats/{chat}/messages"),
                    format!("{{\"user\": \"{user}\", \"text\": \"number {nth}\"}}"),
                )
            }
        }
    }

    fn aggregation_of(&self, nth: u64) -> Request {
        let mut random = Random(nth);
        // The counts are of whole tables; the guide has them made once in two hours, here it is once in a second.
        if nth % 100 == 99 {
            return Request::get("/counts".to_owned());
        }
        Request::get(match nth % 10 {
            0..=5 => format!("/users/{}/teams", random.skewed_of(&self.users)),
            6..=7 => "/trending".to_owned(),
            8 => format!("/resources/{}/details?include=steps", random.skewed_of(&self.resources)),
            _ => "/resources/search?config=%7B%22language%22%3A%22ja%22%7D".to_owned(),
        })
    }

    fn bulk_of(&self, nth: u64, rows: u32) -> Request {
        let mut random = Random(nth);
        let is_insert = nth.is_multiple_of(2);
        // A list with the same resource twice is refused.
        let first = random.below(self.resources.len());
        let count = usize::try_from(rows).unwrap_or(usize::MAX).min(self.resources.len());
        let rows: Vec<String> = (0..count)
            .map(|row| {
                if is_insert {
                    return resource(&mut random, self);
                }
                let public_id = &self.resources[(first + row) % self.resources.len()];
                format!("{{\"publicId\": \"{public_id}\", \"score\": {}}}", random.below(1_000))
            })
            .collect();
        let method = if is_insert { "POST" } else { "PATCH" };
        Request { method, target: "/bulk/resources".to_owned(), body: format!("[{}]", rows.join(", ")) }
    }
}

fn resource(random: &mut Random, ids: &Ids) -> String {
    format!(
        "{{\"resourceType\": \"Note\", \"name\": \"bench\", \"createdBy\": \"{}\", \"team\": \"{}\", \"isComplete\": true, \
         \"config\": {{\"language\": \"en\", \"size\": {}}}}}",
        random.skewed_of(&ids.users),
        random.skewed_of(&ids.teams),
        random.below(1_000)
    )
}
