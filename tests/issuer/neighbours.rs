//! Clients of the admin ports that open many connections, and send nothing, too much, or do not read.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use idissuer::ops::descriptors;
use idissuer_simulator::{Config, Server, Simulator, User};
use idissuer_testbed::process::{Grace, Supervised, WorkFolder};
use idissuer_testbed::wait;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How long anything may take; what it waits for comes far sooner.
const LIMIT: Duration = Duration::from_secs(30);
/// How long the kubelet waits for a probe, and more for a machine that is busy.
const PROBE: Duration = Duration::from_secs(10);
/// The file descriptors that a program gets, and as many connections of a neighbour as it could not hold.
const DESCRIPTORS: usize = 256;
const CROWD: usize = 400;

/// A program that runs, with few file descriptors.
struct Program {
    process: Supervised,
    admin: SocketAddr,
    folder: Arc<WorkFolder>,
}

impl Program {
    async fn start(folder: Arc<WorkFolder>, arguments: &[&str]) -> Self {
        // Those of this test, which holds the crowd.
        descriptors::raise_limit();
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_idissuer")]).args(arguments);
        command.args(["--admin-addr", "127.0.0.1:0"]).env("KUBECONFIG", folder.path().join("kubeconfig"));
        let process = Supervised::spawn("program", &command, Grace::SHORT, &folder).unwrap();
        let admin = process.logged_address("admin").await;
        Self { process, admin, folder }
    }

    /// The operator, with an API server that is away.
    async fn operator() -> Self {
        let folder = Arc::new(WorkFolder::create().unwrap());
        let config = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "away",
            "contexts": [{"name": "away", "context": {"cluster": "away", "user": "nobody"}}],
            "clusters": [{"name": "away", "cluster": {"server": "http://127.0.0.1:9"}}],
            "users": [{"name": "nobody", "user": {}}]}"#;
        std::fs::write(folder.path().join("kubeconfig"), config).unwrap();
        Self::start(folder, &["controller"]).await
    }

    /// A sidecar that cannot log in yet.
    async fn sidecar(issuer: &Server, more: &[&str]) -> Self {
        let folder = Arc::new(WorkFolder::create().unwrap());
        let [login, output] = ["login", "output"].map(|name| folder.path().join(name));
        for directory in [&login, &output] {
            std::fs::create_dir(directory).unwrap();
        }
        let (login, output, url) = (login.to_str().unwrap(), output.to_str().unwrap(), issuer.url());
        let source = ["sidecar", "--source", "login", "--issuer-url", &url, "--login-dir", login];
        Self::start(Arc::clone(&folder), &[&source[..], &["--output-dir", output], more].concat()).await
    }

    fn write_login(&self, username: &str, password: &str) {
        let login = self.folder.path().join("login");
        std::fs::write(login.join("username"), username).unwrap();
        std::fs::write(login.join("password"), password).unwrap();
    }

    async fn is_alive(&self) {
        let probe = exchange(self.admin, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = tokio::time::timeout(PROBE, probe).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}\n{}", self.process.output_tail());
    }

    fn descriptors(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.process.pid())).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }
}

/// All that is answered to these bytes until the connection is closed.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut answer = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(address).await {
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut answer).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}

async fn crowd(address: SocketAddr, bytes: &[u8]) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The other end may not take it all.
        let _ = tokio::time::timeout(Duration::from_millis(20), stream.write_all(bytes)).await;
        crowd.push(stream);
    }
    crowd
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_keep_no_probe_of_the_operator_waiting() {
    let operator = Program::operator().await;
    operator.is_alive().await;
    let _crowd = crowd(operator.admin, b"").await;
    operator.is_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_heads_without_an_end_do_not_fill_the_memory_of_the_operator() {
    let operator = Program::operator().await;
    operator.is_alive().await;
    let before = operator.process.memory("VmHWM").unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(390 * 1024));
    let _crowd = crowd(operator.admin, head.as_bytes()).await;
    operator.is_alive().await;
    let grown = operator.process.memory("VmHWM").unwrap() - before;
    assert!(grown < 16 * 1024, "{grown} KiB more than at rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_at_every_port_of_a_sidecar_block_neither_logins_nor_probes() {
    let name = "shop@example.org";
    let issuer = Simulator::start(Config::default().user(User::new(name, "a-password"))).await.unwrap();
    let url = issuer.url();
    let ports = ["--quit-port", "0", "--proxy-listen", "0", "--upstream", &url];
    let sidecar = Program::sidecar(&issuer, &ports).await;
    let quit = sidecar.process.logged_address("quit").await;
    let proxy = sidecar.process.logged_address("address").await;
    let mut crowds = Vec::new();
    for address in [sidecar.admin, quit, proxy] {
        crowds.push(crowd(address, b"").await);
    }
    sidecar.is_alive().await;
    // Only now can it log in, which needs descriptors.
    sidecar.write_login(name, "a-password");
    wait::until("a request through the proxy", LIMIT, async || {
        let request = b"GET /v2/authorized HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = exchange(proxy, request).await;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
    })
    .await;
    let quitting = b"POST /quitquitquit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(exchange(quit, quitting).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lack_of_descriptors_is_named_and_an_idle_connection_gives_its_own_to_a_probe() {
    let name = "shop@example.org";
    let issuer = Simulator::start(Config::default().user(User::new(name, "a-password"))).await.unwrap();
    let url = issuer.url();
    let sidecar = Program::sidecar(&issuer, &["--proxy-listen", "0", "--upstream", &url]).await;
    let proxy = sidecar.process.logged_address("address").await;
    let before = sidecar.descriptors().len();
    // Two that are idle, and one that has its place at the proxy already.
    let connect = async |address| TcpStream::connect(address).await.unwrap();
    let _idle = [connect(sidecar.admin).await, connect(sidecar.admin).await];
    let mut program = connect(proxy).await;
    program.write_all(b"GET /v2/autho").await.unwrap();
    wait::until("the connections", LIMIT, async || sidecar.descriptors().len() >= before + 3).await;
    sidecar.write_login(name, "a-password");
    wait::until("the token", LIMIT, async || sidecar.process.output().contains("token published")).await;
    let used = sidecar.descriptors();
    let open = (0..DESCRIPTORS as u64).find(|number| !used.contains(number)).unwrap();
    let none_left = Rlimit { current: Some(open), maximum: Some(DESCRIPTORS as u64) };
    let pid = Pid::from_raw(sidecar.process.pid().try_into().unwrap());
    prlimit(pid, Resource::Nofile, none_left).unwrap();
    let rest = b"rized HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    program.write_all(rest).await.unwrap();
    let mut answer = String::new();
    program.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("TooManyOpenFiles"), "{answer}");
    sidecar.is_alive().await;
    sidecar.is_alive().await;
    let output = sidecar.process.output();
    assert!(output.contains("no file descriptors are left"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_for_the_upstream_leave_descriptors_for_probes() {
    let name = "shop@example.org";
    let issuer = Simulator::start(Config::default().user(User::new(name, "a-password"))).await.unwrap();
    // It takes connections, and never answers.
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let sidecar = Program::sidecar(&issuer, &["--proxy-listen", "0", "--upstream", &url]).await;
    sidecar.write_login(name, "a-password");
    let proxy = sidecar.process.logged_address("address").await;
    wait::until("the token", LIMIT, async || sidecar.process.output().contains("token published")).await;
    // One connection of HTTP/2; each of its requests needs one of HTTP/1.
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..DESCRIPTORS / 2 {
        asking.spawn(client.get(format!("http://{proxy}/")).send());
    }
    let first = tokio::time::timeout(LIMIT, asking.join_next()).await.unwrap().unwrap();
    let refusal = first.unwrap().unwrap();
    assert_eq!(refusal.status(), 503);
    assert!(refusal.text().await.unwrap().contains("TooManyRequests"));
    sidecar.is_alive().await;
}
