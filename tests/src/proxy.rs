//! The proxy in this process: real sockets on free ports, real workers, a clock that a test moves.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use caching::time::Timestamp;
use larder::{
    accept::Workers,
    admin::{self, AdminService},
    clock::{Clock, ManualClock},
    config::Config,
    feed, live,
    reload::Reloader,
};
use plugin_host::{Engine, Limits};
use rig::http::{Client, Response};

use crate::origin::Origin;

/// 2026-01-01T00:00:00Z: what `Date` has in tests that need one is a matter of adding to it.
pub const START: Timestamp = Timestamp::from_s(1_767_225_600);

/// A running proxy; drained when it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub clock: ManualClock,
    pub shared: Arc<live::Proxy>,
    pub reloader: Arc<Reloader>,
    file: PathBuf,
    workers: Option<Workers>,
    _listening: feed::client::Listener,
    /// Ends the thread of the admin listener when it is dropped.
    _admin: tokio::sync::oneshot::Sender<()>,
}

/// One for the whole test program: it reserves address space for every instance there may be.
fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    // Many tests run at once: a policy that waits for its turn on a core is not one that is slow.
    let limits = Limits { deadline: Duration::from_millis(250), ..Limits::default() };
    ENGINE.get_or_init(|| Engine::new(limits).expect("wasmtime starts on this machine")).clone()
}

impl Proxy {
    /// One upstream, and one route `all` with this line of TOML in it, for instance `cache = { ttl = "1m" }`.
    pub fn in_front_of(origin: &Origin, route: &str) -> Proxy {
        Proxy::with_config(&config(origin, &format!("[[route]]\nname = \"all\"\n{route}\n")))
    }

    /// `text` is what stands in `larder.toml`, without `listen` and `workers`.
    ///
    /// # Panics
    /// The configuration has a fault.
    #[track_caller]
    pub fn with_config(text: &str) -> Proxy {
        let file = folder().join("larder.toml");
        write(&file, text);
        let config = Config::load(&file).unwrap_or_else(|faults| panic!("{faults}"));
        let clock = ManualClock::starting_at(START);
        let shared = live::Proxy::new(config, &file, Clock::Manual(clock.clone()), engine());
        let shared = Arc::new(shared.unwrap_or_else(|faults| panic!("{faults:?}")));
        let workers = Workers::start(&shared).expect("loopback has free ports");
        let listening = feed::client::start(Arc::clone(&shared)).expect("there is a thread left");
        let reloader = Arc::new(Reloader::new(Arc::clone(&shared), Some(file.clone())));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let admin_address = listener.local_addr().expect("a bound socket has an address");
        let service = AdminService {
            proxy: Arc::clone(&shared),
            reloader: Arc::clone(&reloader),
            config: shared.live().config.admin.clone(),
            addresses: workers.addresses.clone(),
        };
        let stop_admin = start_admin(service, listener);
        Proxy {
            address: workers.addresses[0],
            admin: admin_address,
            clock,
            shared,
            reloader,
            file,
            workers: Some(workers),
            _listening: listening,
            _admin: stop_admin,
        }
    }

    /// Writes another configuration, without reading it.
    pub fn write_config(&self, text: &str) {
        write(&self.file, text);
    }

    /// # Panics
    /// The new configuration is refused.
    #[track_caller]
    pub fn reload(&self, text: &str) {
        self.write_config(text);
        if let Err(error) = self.reloader.reload() {
            panic!("{error}");
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address).expect("the proxy takes connections")
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.get_with(target, &[])
    }

    #[track_caller]
    pub fn get_with(&self, target: &str, fields: &[(&str, &str)]) -> Response {
        self.client().get(target, fields).expect("the proxy answers")
    }

    /// One call of the admin listener.
    #[track_caller]
    pub fn admin(&self, method: &str, target: &str, body: &str) -> Response {
        let mut client = Client::connect(self.admin).expect("the admin listener takes connections");
        client.call(method, target, &[], body.as_bytes()).expect("the admin listener answers")
    }

    #[track_caller]
    pub fn purge_tag(&self, tag: &str) {
        let answer = self.admin("POST", "/api/purge", &format!("{{\"tags\": [\"{tag}\"]}}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Of a target on the host that [`Self::get`] names.
    #[track_caller]
    pub fn purge_url(&self, target: &str) {
        let url = format!("http://{}{target}", self.address);
        let answer = self.admin("POST", "/api/purge", &format!("{{\"urls\": [\"{url}\"]}}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Drains, as a termination signal would make it.
    pub fn stop(&mut self) {
        if let Some(workers) = self.workers.take() {
            workers.drain();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
        if let Some(folder) = self.file.parent() {
            // What is left over in a temporary folder does no harm.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The admin listener and the watch over the configuration file, in a thread of their own as in the program.
fn start_admin(service: AdminService, listener: std::net::TcpListener) -> tokio::sync::oneshot::Sender<()> {
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime starts").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("the socket is a listener");
            tokio::spawn(Arc::clone(&service.reloader).watch());
            tokio::select! {
                () = admin::serve(Arc::new(service), listener) => (),
                _ = stopped => (),
            }
        });
    });
    stop
}

/// A configuration with this upstream, called `app`, and further text.
pub fn config(origin: &Origin, rest: &str) -> String {
    format!("[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n{rest}\n", origin.url())
}

fn write(file: &Path, text: &str) {
    let whole = format!(
        "listen = [\"127.0.0.1:0\"]\nworkers = 2\naccess_log = false\n{text}\n[admin]\nlisten = \"off\"\n"
    );
    std::fs::write(file, whole).expect("the temporary folder can be written");
}

fn folder() -> PathBuf {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("larder-flow-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    folder
}
