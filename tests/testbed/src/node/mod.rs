//! A node beside a control plane: real pods, with the real kubelet, containerd, runc and kube-proxy.
//!
//! ```text
//! this machine                              │ a network and a mount namespace of the node
//! API server on loopback ── relay ── link ──┼── kubelet, containerd, kube-proxy, DNS
//! test ─────────────────────────────────────┼── pods, each in a network namespace of its own
//! undertaker: when this process ends, kills what is in the node's cgroups, and removes them
//! ```
//!
//! Not there: policies of the network, load balancers, ports of the node's own address, storage classes, and any way to
//! the outside.
//!
//! Everything of the node is in its cgroups and namespaces, and its files are in one [`WorkFolder`]: with its processes
//! go its mounts and networks.

mod available;
mod cgroup;
mod command;
mod files;
mod programs;
mod ready;
mod relay;
mod slot;
mod space;
mod undertaker;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};

use crate::control_plane::{Component, ControlPlane, Controllers};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::process::WorkFolder;
use crate::skip::skip;
use files::{Files, PAUSE_IMAGE, Subject};
use programs::{Components, Programs};
use relay::Relay;
use slot::Slot;
use space::Space;
use undertaker::Undertaker;

/// A running node. It ends with all its pods when it is dropped or this process ends.
#[derive(Debug)]
pub struct Node {
    // Dropped in this order: what depends on another part goes first. The undertaker comes after all that it would kill.
    components: Components,
    relay: Relay,
    _space: Space,
    _undertaker: Undertaker,
    slot: Slot,
    programs: Programs,
    client: kube::Config,
    folder: Arc<WorkFolder>,
}

impl Node {
    /// The name of a node in the API.
    pub const NAME: &str = "node";

    /// Why this machine can have no node, in a sentence, if so: a node needs root, namespaces and cgroups.
    #[must_use]
    pub fn unavailable() -> Option<String> {
        available::unavailable()
    }

    /// Whether a test can have a node. Where it cannot, this says why on standard error, for the test to be skipped.
    ///
    /// # Panics
    /// Where it cannot and `CI` is `true`: nothing is skipped there.
    #[must_use]
    pub fn available_for_test() -> bool {
        let Some(reason) = Self::unavailable() else {
            return true;
        };
        skip(&reason);
        false
    }

    /// Installs what building and running a node needs of Debian's packages, as far as it is missing.
    ///
    /// # Errors
    /// When there can be no node here, or the packages cannot be had.
    pub fn prepare() -> Result<()> {
        available::prepare()
    }

    /// Starts a node and waits until it is ready for pods. Programs and packages that are missing are provided first.
    ///
    /// The control plane needs [all controllers](crate::Controllers::All), and has one node.
    ///
    /// # Errors
    /// When there can be no node here, or a part does not start.
    pub async fn start(control_plane: &ControlPlane) -> Result<Self> {
        if control_plane.controllers() != Controllers::All {
            let reason = "a node needs a control plane with all controllers: see `Options::controllers`";
            return Err(Error::NodeUnavailable(reason.to_owned()));
        }
        let task = tokio::task::spawn_blocking(|| Ok::<_, Error>((Programs::provide()?, Slot::take()?)));
        let (programs, slot) = task.await.map_err(Error::Task)??;
        let folder = Arc::new(WorkFolder::create()?);
        slot.note(folder.path())?;
        let undertaker = Undertaker::employ(&slot, Some(&folder))?;
        let space = Space::create(&slot, &folder).await?;
        let relay = Relay::start(slot.host_address(), control_plane.address())?;
        let files = Files::write(Subject {
            control_plane,
            api_server: relay.address(),
            slot: &slot,
            programs: &programs,
            folder: folder.path(),
        })?;
        let components = Components::new(&programs, &files, &slot, &space, &folder);
        let node = Self {
            components,
            relay,
            _space: space,
            _undertaker: undertaker,
            slot,
            programs,
            client: control_plane.config().clone(),
            folder,
        };
        node.bring_up().await?;
        Ok(node)
    }

    async fn bring_up(&self) -> Result<()> {
        let Components { kubelet, scheduler, kube_proxy, dns, containerd } = &self.components;
        ready::publish_api_server(&self.client()?, self.relay.address()).await?;
        for component in [containerd, scheduler, kube_proxy, dns] {
            component.start()?;
        }
        ready::containerd(self).await?;
        let pause = Image::of_program(&self.programs.pod).entrypoint(["/testbed-pod", "pause"]);
        self.import(&pause, PAUSE_IMAGE).await?;
        kubelet.start()?;
        self.ready().await
    }

    /// Waits until the node is ready for pods, as after [`restart_kubelet`](Self::restart_kubelet).
    ///
    /// # Errors
    /// When a part of it has ended, or it takes too long.
    pub async fn ready(&self) -> Result<()> {
        ready::node(self).await
    }

    /// Makes the image in `archive` known to the node as `name`, for pods with `imagePullPolicy: Never`. The archive is
    /// an OCI one, as [`Image::write`] makes, or one of `docker save`. The name is a whole one, such as
    /// `localhost/program:1`.
    ///
    /// # Errors
    /// When containerd does not take it.
    pub async fn import_image(&self, archive: &Path, name: &str) -> Result<()> {
        let archive = archive.display().to_string();
        let arguments =
            ["images", "import", "--local", "--snapshotter=native", "--index-name", name, &archive];
        self.ctr(&arguments).await?;
        ready::image(self, name).await
    }

    /// Makes the image in `archive` known to the node under the name that the archive gives it, as kind and k3s do, and
    /// waits until a pod can have it as `name`.
    ///
    /// # Errors
    /// When containerd does not take it, or it has another name.
    pub async fn import_named_image(&self, archive: &Path, name: &str) -> Result<()> {
        let archive = archive.display().to_string();
        self.ctr(&["images", "import", "--local", "--snapshotter=native", &archive]).await?;
        ready::image(self, name).await
    }

    /// Makes an image of `program` alone, statically linked, known to the node as `name`.
    ///
    /// # Errors
    /// When the program cannot be read, or containerd does not take the image.
    pub async fn import_program(&self, program: &Path, name: &str) -> Result<()> {
        self.import(&Image::of_program(program), name).await
    }

    /// Makes `image` known to the node as `name`.
    ///
    /// # Errors
    /// When a file of it cannot be read, or containerd does not take the image.
    pub async fn import(&self, image: &Image, name: &str) -> Result<()> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let archive = self.folder.path().join(format!("image-{count}.tar"));
        image.write(&archive)?;
        self.import_image(&archive, name).await?;
        std::fs::remove_file(&archive).map_err(Error::file("remove", &archive))
    }

    /// A small static program for pods of tests: `serve <address>`, `get <url>`, `resolve <name>`. Without an argument it
    /// tells what it can do.
    #[must_use]
    pub fn test_program(&self) -> &Path {
        &self.programs.pod
    }

    /// What the containers of a pod printed so far; of a pod with several, that of `container`.
    ///
    /// # Errors
    /// When the API server cannot get it from the node.
    pub async fn pod_logs(&self, namespace: &str, pod: &str, container: Option<&str>) -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(self.client()?, namespace);
        let parameters = LogParams { container: container.map(str::to_owned), ..LogParams::default() };
        pods.logs(pod, &parameters).await.map_err(Error::api("read the log of a pod"))
    }

    /// Ends kubelet and starts it anew, while the pods run on, and waits until the node is ready again.
    ///
    /// # Errors
    /// When kubelet does not end, or does not come back.
    pub async fn restart_kubelet(&self) -> Result<()> {
        self.kubelet().stop().await?;
        self.kubelet().start()?;
        self.ready().await
    }

    /// kubelet, to be stopped and started.
    #[must_use]
    pub fn kubelet(&self) -> &Component {
        &self.components.kubelet
    }

    /// containerd, to be stopped and started. The pods run on without it.
    #[must_use]
    pub fn containerd(&self) -> &Component {
        &self.components.containerd
    }

    /// What makes Services work, to be stopped and started.
    #[must_use]
    pub fn kube_proxy(&self) -> &Component {
        &self.components.kube_proxy
    }

    /// The DNS, to be stopped and started.
    #[must_use]
    pub fn dns(&self) -> &Component {
        &self.components.dns
    }

    /// Where pods reach what listens on this machine: at this address, no other. A Service without a selector can have
    /// it as an endpoint.
    #[must_use]
    pub fn host_address(&self) -> IpAddr {
        IpAddr::V4(self.slot.host_address())
    }

    /// The name of its cgroups and of its network link.
    #[must_use]
    pub fn cgroup(&self) -> String {
        self.slot.name()
    }

    /// The folder of the node's files, logs among them.
    #[must_use]
    pub fn folder(&self) -> &Arc<WorkFolder> {
        &self.folder
    }

    fn client(&self) -> Result<Client> {
        crate::control_plane::client(self.client.clone())
    }

    /// containerd's own client, for what pods are made of.
    async fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let socket = format!("--address={}", files::socket(self.folder.path()).display());
        let mut all = vec![socket.as_str(), "--namespace=k8s.io"];
        all.extend(arguments);
        command::run(&self.programs.ctr, &all).await
    }
}
