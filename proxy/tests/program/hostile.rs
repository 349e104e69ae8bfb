//! All hostile guests at once behind the program, over sockets: each route answers as it is configured, what comes next is
//! served as ever, and the memory that they took comes back.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use rig::{
    http::{Client, Response},
    process::Process,
};

use crate::{Folder, crowd::memory_kib};

/// Each takes all guests for new ones, which nothing is known of yet.
const ROUNDS: u8 = 5;
/// More than it takes to be taken out: the first fail, the others are not put to the policy. For clients it is the same.
const REQUESTS: usize = 6;
/// Far more than what is kept for the next instances, far less than what the guests of one round ask for.
const GROWTH_KIB_MAX: usize = 48 * 1024;

/// A guest, the field that tells it what to do, and what it is told.
type Hostile = (&'static str, &'static str, &'static [&'static str]);

const AT_REQUESTS: &[Hostile] = &[
    ("spin-forever", "", &[]),
    ("grow-memory", "", &[]),
    ("recurse", "", &[]),
    ("trap", "", &[]),
    ("many-tags", "", &[]),
    ("opens-socket", "", &[]),
    ("reads-clock", "", &[]),
    ("writes-much", "", &[]),
    ("huge-body", "x-megabytes", &["2", "8"]),
    ("huge-string", "x-place", &["reason", "upstream", "parameter", "field-name", "part"]),
    ("remembers", "x-tenant", &["panic"]),
    (
        "bad-output",
        "x-what",
        &[
            "cr-lf",
            "nul",
            "field-name",
            "framing",
            "long-value",
            "many-fields",
            "status-101",
            "status-600",
            "body-with-304",
            "reason",
            "reason-line",
            "empty-tag",
            "comma-tag",
            "long-tag",
            "long-part",
            "many-parts",
        ],
    ),
];
const AT_RESPONSES: &[Hostile] = &[("spin-in-response", "", &[]), ("bad-ttl", "", &[])];
/// What they do is odd, and harms nobody.
const HARMLESS: &[&str] = &["trap-on-third-call", "hash-map"];
const ON_FAULT: [&str; 3] = ["pass", "fail", "default"];

/// What is refused at load, and how it is said.
const REFUSED: &[(&str, &str, &str)] = &[
    ("spin-in-describe", "{}", "describe: no answer within 1s"),
    ("spin-in-configure", "{}", "configure: no answer within 1s"),
    ("failing-self-test", "{}", "self-test"),
    ("many-self-tests", "{}", "more than 64 cases"),
    ("imports-host", "{}", "imports"),
    ("other-version", "{}", "supported: larder:policy@"),
    ("claims-inputs", "{}", "settings: wanted boolean"),
    ("pass", "{ a = 1 }", "settings"),
    ("module", "{}", "a WebAssembly module, and a policy is a component"),
    ("cut-off", "{}", "compile"),
    ("text", "{}", "not WebAssembly"),
    ("nothing", "{}", "not WebAssembly"),
];

#[test]
fn hostile_guests_leave_nothing_behind() {
    let built = rig::policies::build().unwrap();
    let upstream = upstream();
    let (folder, file) = Folder::with_config("");
    let text = configuration(upstream);
    fs::write(&file, &text).unwrap();
    put_guests(&built, &folder.0, 0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    let mut larder = Process::start("larder", command.args(["serve", "-c"]).arg(&file)).unwrap();
    let address = larder.wait_for_address("serving").unwrap();
    let admin = larder.wait_for_address("admin").unwrap();
    let mut after_first = None;
    for round in 0..ROUNDS {
        if round > 0 {
            put_guests(&built, &folder.0, round);
            let reloaded = call(admin, "POST", "/api/reload", &[]);
            assert_eq!(reloaded.status, 200, "{}", reloaded.text());
        }
        for &(guest, field, told) in AT_REQUESTS {
            all_answers(address, round, guest, field, told, "larder; fwd=bypass; fwd-status=200");
        }
        for &(guest, field, told) in AT_RESPONSES {
            let passed = "larder; fwd=uri-miss; fwd-status=200; detail=policy-fault";
            all_answers(address, round, guest, field, told, passed);
        }
        for guest in HARMLESS {
            for number in 0..REQUESTS {
                let answer = call(address, "GET", &format!("/{guest}/pass/{round}/{number}"), &[]);
                assert_stored(&answer, guest);
            }
        }
        let kib = memory_kib(&larder, "VmRSS");
        // The first round meets memory that nobody has touched before.
        let before = *after_first.get_or_insert(kib);
        assert!(kib < before + GROWTH_KIB_MAX, "{kib} KiB after round {round}, {before} after the first");
    }
    let listed = call(admin, "GET", "/api/policies", &[]).text();
    for (guest, ..) in AT_REQUESTS.iter().chain(AT_RESPONSES) {
        let place = listed.find(&format!("\"policy\": \"{guest}@")).unwrap();
        let faults = listed[place..].split("\"faults\": ").nth(1).unwrap();
        let faults: u32 = faults.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
        assert!(faults >= u32::from(ROUNDS), "{guest}: {faults}");
    }
    for (guest, settings, expected) in REFUSED {
        let more = format!(
            "{text}[[route]]\nname = \"refused\"\nmatch = {{ path = \"/refused\" }}\n\
             policy = {{ component = \"{guest}.wasm\", settings = {settings} }}\n"
        );
        fs::write(&file, more).unwrap();
        let refused = call(admin, "POST", "/api/reload", &[]);
        let said = refused.text();
        assert_eq!(refused.status, 422, "{guest}: {said}");
        assert!(said.contains("route \"refused\"") && said.contains(expected), "{guest}: {said}");
        assert!(said.contains(&format!("{guest}.wasm")), "{guest}: {said}");
        assert_eq!(call(address, "GET", "/plain", &[]).status, 200, "{guest}");
    }
}

fn configuration(upstream: SocketAddr) -> String {
    let mut text = format!(
        "listen = [\"127.0.0.1:0\"]\nworkers = 2\naccess_log = false\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"http://{upstream}\"]\n\
         [[route]]\nname = \"plain\"\nmatch = {{ path = \"/plain\" }}\n"
    );
    let hostile = AT_REQUESTS.iter().chain(AT_RESPONSES).map(|(guest, ..)| guest);
    for guest in hostile.chain(HARMLESS) {
        for on_fault in ON_FAULT {
            let _ = write!(
                text,
                "[[route]]\nname = \"{guest}-{on_fault}\"\nmatch = {{ path = \"/{guest}/{on_fault}/{{*rest}}\" }}\n\
                 policy = {{ component = \"{guest}.wasm\", on_fault = \"{on_fault}\" }}\n"
            );
        }
    }
    text
}

/// The guests, with a section that nobody reads, so that each round they are others. And files that are none.
fn put_guests(built: &Path, folder: &Path, round: u8) {
    let guests = AT_REQUESTS.iter().chain(AT_RESPONSES).map(|(guest, ..)| *guest);
    let refused = REFUSED.iter().map(|(guest, ..)| *guest);
    for guest in guests.chain(HARMLESS.iter().copied()).chain(refused) {
        let of = |name: &str| fs::read(built.join(format!("{name}.wasm"))).unwrap();
        let bytes = match guest {
            "module" => b"\0asm\x01\0\0\0".to_vec(),
            "cut-off" => of("pass")[..1000].to_vec(),
            "text" => b"module.exports = {}".to_vec(),
            "nothing" => Vec::new(),
            guest => [&of(guest), [0, 4, 3, b'n', b'o', round].as_slice()].concat(),
        };
        let new = folder.join("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, folder.join(format!("{guest}.wasm"))).unwrap();
    }
}

pub(crate) fn call(address: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
    Client::connect(address).unwrap().call(method, target, fields, b"").unwrap()
}

fn assert_stored(answer: &Response, guest: &str) {
    let status = answer.field("cache-status").unwrap_or_default();
    let is_well = status.starts_with("larder; fwd=uri-miss; fwd-status=200; stored");
    assert!(answer.status == 200 && is_well && answer.text() == "from the upstream", "{guest}: {answer:?}");
}

/// Under each `on_fault`: what clients get, and what comes after it on the same connection.
fn all_answers(address: SocketAddr, round: u8, guest: &str, field: &str, told: &[&str], passed: &str) {
    for (at, on_fault) in ON_FAULT.into_iter().enumerate() {
        for number in 0..REQUESTS {
            // Each round and each mode begins with other words, so that all of them have been said in the end.
            let word = told.get((usize::from(round) * 4 + at + number) % told.len().max(1));
            let fields: Vec<_> = word.map(|word| (field, *word)).into_iter().collect();
            let mut client = Client::connect(address).unwrap();
            let target = format!("/{guest}/{on_fault}/{round}/{number}");
            let answer = client.get(&target, &fields).unwrap();
            let status = answer.field("cache-status").unwrap_or_default();
            match on_fault {
                "pass" => assert_eq!((answer.status, status), (200, passed), "{guest}: {answer:?}"),
                "fail" => assert_eq!(answer.status, 500, "{guest}: {answer:?}"),
                _ => assert_stored(&answer, guest),
            }
            assert!(!answer.text().contains(guest), "{guest}: {answer:?}");
            let next = client.get("/plain", &[]).unwrap();
            assert_eq!((next.status, next.text().as_str()), (200, "from the upstream"), "{guest}");
        }
    }
}

/// Answers every request with the same storable response.
pub(crate) fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(stream: TcpStream) {
    let mut lines = BufReader::new(&stream).lines();
    while let Some(Ok(line)) = lines.next() {
        let answer =
            "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 17\r\n\r\nfrom the upstream";
        // A client that is gone is no reason to end the test.
        if line.is_empty() && (&stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
