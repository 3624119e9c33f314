//! What is left of a node when it ends, or the test process does. Skipped where there can be no node.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use idissuer_testbed::{Cluster, Node, NodeOptions, Options, TestNamespace, wait};
use k8s_openapi::api::core::v1::Pod;

use crate::node::{IMAGE, LIMIT, is_ready, server};

/// Set for a process that is started by a test below, to be killed.
const ROLE: &str = "TESTBED_UNDERTAKER_ROLE";

/// A cluster with a pod in which a Secret is mounted: everything that could be left.
async fn cluster_with_pod() -> (Cluster, TestNamespace) {
    let cluster = Cluster::start(Options::new(), NodeOptions::new()).await.unwrap();
    cluster.node().import_program(cluster.node().test_program(), IMAGE).await.unwrap();
    let namespace = TestNamespace::create(cluster.control_plane(), "end").await.unwrap();
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: login}, stringData: {token: first}}";
    namespace.kubectl().apply(secret).await.unwrap();
    let mount = "
    volumeMounts: [{name: secret, mountPath: /secret}]
  volumes: [{name: secret, secret: {secretName: login}}]";
    namespace.kubectl().apply(&server("web", mount)).await.unwrap();
    Box::pin(wait::object(&namespace.api::<Pod>(), "web", "a ready pod", LIMIT, is_ready)).await;
    (cluster, namespace)
}

/// What there is of a node. Names and the numbers of namespaces come round again, with the next node; those of cgroups,
/// links and processes do not, or not so soon.
#[derive(Debug)]
struct Traces {
    name: String,
    folder: PathBuf,
    groups: Vec<(PathBuf, u64)>,
    link: String,
    /// With the last of them go the mounts and the network namespaces.
    processes: Vec<u32>,
}

impl Traces {
    fn of(name: &str, folder: &Path) -> Self {
        let of_groups = processes_of(name);
        let network = |process: &u32| fs::read_link(format!("/proc/{process}/ns/net")).unwrap_or_default();
        let networks: HashSet<PathBuf> = of_groups.iter().map(network).collect();
        assert_eq!(networks.len(), 2, "the node's and its pod's");
        assert!(!networks.contains(&network(&std::process::id())), "this machine's is none of them");
        let of_networks = all_processes().into_iter().filter(|process| networks.contains(&network(process)));

        let path = format!("{}/", folder.display());
        let sees_mounts = |process: &u32| {
            fs::read_to_string(format!("/proc/{process}/mountinfo"))
                .is_ok_and(|mounts| mounts.contains(&path))
        };
        assert!(!sees_mounts(&std::process::id()), "this machine has none of the node's mounts");
        let of_mounts = all_processes().into_iter().filter(sees_mounts);

        let mut processes: Vec<u32> = of_groups.iter().copied().chain(of_networks).chain(of_mounts).collect();
        processes.sort_unstable();
        processes.dedup();
        // Small programs come and go meanwhile.
        let later = processes_of(name);
        let is_outside = |process: &&u32| {
            !of_groups.contains(process) && !later.contains(process) && is_at_work(**process)
        };
        assert_eq!(processes.iter().find(is_outside), None, "nothing of the node is outside of its cgroups");
        for expected in
            ["containerd", "containerd-shim", "kube-proxy", "kubelet", "testbed-dns", "testbed-pod"]
        {
            assert!(processes.iter().any(|process| command(*process) == expected), "{expected} does not run");
        }
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            groups: groups(name),
            link: link(name).unwrap(),
            processes,
        }
    }

    fn left(&self) -> Vec<String> {
        let mut left = self.left_groups();
        if self.folder.exists() {
            left.push(self.folder.display().to_string());
        }
        if link(&self.name).as_ref() == Some(&self.link) {
            left.push(self.name.clone());
        }
        let alive = self.processes.iter().filter(|process| is_at_work(**process));
        left.extend(alive.map(|process| format!("{process} {}", command(*process))));
        left
    }

    fn left_groups(&self) -> Vec<String> {
        let now = groups(&self.name);
        let left = now.into_iter().filter(|group| self.groups.contains(group));
        left.map(|(folder, _)| folder.display().to_string()).collect()
    }

    async fn are_gone(&self) {
        wait::until("the end of all that was", Duration::from_secs(20), async || match self.left() {
            left if left.is_empty() => Ok(()),
            left => Err(left.join(", ")),
        })
        .await;
    }
}

fn all_processes() -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn command(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim().to_owned()
}

/// Not only a number that nobody has asked about since its end.
fn is_at_work(process: u32) -> bool {
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The number of this machine's end of the node's link.
fn link(name: &str) -> Option<String> {
    fs::read_to_string(Path::new("/sys/class/net").join(name).join("ifindex")).ok()
}

/// The folders of the node's cgroups, with their numbers.
fn groups(name: &str) -> Vec<(PathBuf, u64)> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).unwrap().flatten().map(|entry| entry.path());
    hierarchies
        .chain([root.to_owned()])
        .filter(|folder| !folder.is_symlink())
        .map(|folder| folder.join(name))
        .filter_map(|folder| fs::metadata(&folder).ok().map(|metadata| (folder, metadata.ino())))
        .collect()
}

fn processes_of(name: &str) -> Vec<u32> {
    let mut folders: Vec<PathBuf> = groups(name).into_iter().map(|(folder, _)| folder).collect();
    let mut processes = Vec::new();
    while let Some(folder) = folders.pop() {
        let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        processes.extend(text.lines().map(|line| line.parse::<u32>().unwrap()));
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    processes.sort_unstable();
    processes.dedup();
    processes
}

/// Not a test by itself: the body of the child processes.
#[tokio::test]
async fn child() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let (cluster, _namespace) = cluster_with_pod().await;
    println!("\nnode {} {}", cluster.node().cgroup(), cluster.node().folder().path().display());
    std::future::pending::<()>().await;
}

struct Started {
    process: Child,
    /// Held open: a test process that cannot print fails.
    _output: Lines<BufReader<ChildStdout>>,
    traces: Traces,
}

fn start() -> Started {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "undertaker::child", "--nocapture"])
        .env(ROLE, "waits")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = output.find(|line| line.as_ref().unwrap().starts_with("node ")).unwrap().unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let traces = Traces::of(words[1], Path::new(words[2]));
    Started { process, _output: output, traces }
}

#[tokio::test]
async fn nothing_is_left_of_a_node_that_is_dropped() {
    if !Node::available_for_test() {
        return;
    }
    let (cluster, namespace) = cluster_with_pod().await;
    let node = cluster.node();
    let traces = Traces::of(&node.cgroup(), node.folder().path());
    drop(namespace);
    drop(cluster);
    assert_eq!(traces.left_groups(), Vec::<String>::new(), "the drop waits for the end");
    traces.are_gone().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_node_whose_process_is_killed() {
    if !Node::available_for_test() {
        return;
    }
    let mut started = tokio::task::spawn_blocking(start).await.unwrap();
    started.process.kill().unwrap();
    started.process.wait().unwrap();
    started.traces.are_gone().await;
}

#[tokio::test]
async fn the_next_node_clears_what_is_left_of_one_whose_undertaker_and_janitor_are_killed_too() {
    if !Node::available_for_test() {
        return;
    }
    let mut started = tokio::task::spawn_blocking(start).await.unwrap();
    kill(process(&format!("\0undertaker\0{}\0", started.traces.name)));
    kill(process(&format!("\0janitor\0{}\0", started.traces.folder.display())));
    started.process.kill().unwrap();
    started.process.wait().unwrap();
    drop(cluster_with_pod().await);
    started.traces.are_gone().await;
}

/// The one process whose command line ends so.
fn process(end: &str) -> u32 {
    let ends_so = |process: &u32| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).ends_with(end)
    };
    let found: Vec<u32> = all_processes().into_iter().filter(ends_so).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

fn kill(pid: u32) {
    let status = Command::new("/bin/sh").args(["-c", "kill -KILL \"$1\"", "kill", &pid.to_string()]).status();
    assert!(status.unwrap().success());
}
