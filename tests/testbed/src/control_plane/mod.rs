//! A control plane of its own: etcd, kube-apiserver and, if asked for, kube-controller-manager, on loopback ports and
//! in a temporary folder.

mod component;
mod components;
mod files;
mod options;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kube::api::GetParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use kube::{Client, Config};

pub use component::Component;
pub use options::{Controllers, Options};

use crate::audit::AuditLog;
use crate::certificates::{Authority, Identity};
use crate::error::{Error, Result};
use crate::kubeconfig;
use crate::kubectl::Kubectl;
use crate::process::WorkFolder;
use components::{Ports, Programs};
use files::Files;

/// It is ready in about 3 s; a machine that compiles meanwhile takes longer.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// How long the API server may take to serve a definition.
const CRD_LIMIT: Duration = Duration::from_secs(30);
/// Another program may take a port between the look and the bind.
const ATTEMPTS: u32 = 3;
/// Its users may do everything, before any authorization is asked.
const ADMINISTRATORS: &str = "system:masters";
/// The user of [`ControlPlane::client`].
const ADMINISTRATOR: &str = "admin";

/// A running control plane. It ends when it is dropped or this process ends.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: what depends on another part goes first.
    controller_manager: Option<Component>,
    api_server: Component,
    etcd: Component,
    audit: AuditLog,
    authority: Authority,
    ports: Ports,
    controllers: Controllers,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    config: Config,
    folder: Arc<WorkFolder>,
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready. Programs that are missing are built first.
    ///
    /// # Errors
    /// When a program is missing and cannot be built, or a part does not start.
    pub async fn start(options: Options) -> Result<Self> {
        install_crypto_provider();
        let mut attempt = 1;
        loop {
            match Self::attempt(&options).await {
                Err(Error::ComponentEnded { output, .. })
                    if attempt < ATTEMPTS && output.contains("address already in use") =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn attempt(options: &Options) -> Result<Self> {
        let programs = programs(options.controllers).await?;
        let folder = Arc::new(WorkFolder::create()?);
        let ports = Ports::reserve()?;
        let authority = Authority::create()?;
        let files = Files::write(folder.path(), &authority)?;
        let write_kubeconfig = |name: &str, user: &str| {
            let path = folder.path().join(format!("{name}.kubeconfig"));
            let identity = authority.client(user, Some(ADMINISTRATORS))?;
            kubeconfig::write(&path, &server(&ports), &authority.certificate(), &identity)?;
            Ok::<_, Error>(path)
        };
        write_kubeconfig("controller-manager", "system:kube-controller-manager")?;
        let kubeconfig = write_kubeconfig(ADMINISTRATOR, ADMINISTRATOR)?;

        let control_plane = Self {
            controller_manager: components::controller_manager(
                &programs,
                &files,
                options.controllers,
                &folder,
            ),
            api_server: components::api_server(&programs, &ports, &files, &folder),
            etcd: components::etcd(&programs, &ports, &folder),
            audit: AuditLog::new(files.audit_log),
            config: config(&kubeconfig).await?,
            kubeconfig,
            kubectl: programs.kubectl,
            authority,
            ports,
            controllers: options.controllers,
            folder,
        };
        control_plane.etcd.start()?;
        control_plane.api_server.start()?;
        control_plane.ready().await?;
        for crd in &options.crds {
            control_plane.install_crd(crd).await?;
        }
        if let Some(controller_manager) = &control_plane.controller_manager {
            controller_manager.start()?;
        }
        Ok(control_plane)
    }

    /// Waits until the API server answers that it is ready, as after a [`Component::start`].
    ///
    /// # Errors
    /// When etcd or the API server has ended, or it takes too long.
    pub async fn ready(&self) -> Result<()> {
        let start = Instant::now();
        let client = self.client()?;
        loop {
            let last_answer = match ask_ready(&client).await {
                Ok(()) => return Ok(()),
                Err(answer) => answer,
            };
            self.etcd.check_running()?;
            self.api_server.check_running()?;
            if start.elapsed() > READY_LIMIT {
                return Err(Error::NotReady {
                    limit: READY_LIMIT,
                    last_answer,
                    output: self.api_server.output_tail(),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// etcd, to be stopped and started.
    #[must_use]
    pub fn etcd(&self) -> &Component {
        &self.etcd
    }

    /// The API server, to be stopped and started. It comes back under the same address.
    #[must_use]
    pub fn api_server(&self) -> &Component {
        &self.api_server
    }

    /// The controller manager, if there is one.
    #[must_use]
    pub fn controller_manager(&self) -> Option<&Component> {
        self.controller_manager.as_ref()
    }

    /// The address of the API server.
    #[must_use]
    pub fn server(&self) -> String {
        server(&self.ports)
    }

    /// The requests to the API server, with their users.
    #[must_use]
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// The folder of the control plane's files; free for files that should go with it.
    #[must_use]
    pub fn folder(&self) -> &Arc<WorkFolder> {
        &self.folder
    }

    /// A kubeconfig file of the administrator. It carries its certificates in itself.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A new kubeconfig file for `user`, who may do what RBAC grants to that name, or to `group` if there is one.
    /// The group `system:masters` may do everything.
    ///
    /// Its own user distinguishes a client's requests from those of the test in the [audit log](Self::audit).
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn kubeconfig_as(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("user-{count}.kubeconfig"));
        let identity = self.authority.client(user, group)?;
        let authority = self.authority.certificate();
        kubeconfig::write(&path, &self.server(), &authority, &identity)?;
        Ok(path)
    }

    /// A new client of the administrator.
    ///
    /// It belongs to the tokio runtime that it is made in, and dies with it: each `#[tokio::test]` needs its own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn client(&self) -> Result<Client> {
        client(self.config.clone())
    }

    /// A new client of `user`: see [`kubeconfig_as`](Self::kubeconfig_as).
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn client_as(&self, user: &str, group: Option<&str>) -> Result<Client> {
        let path = self.kubeconfig_as(user, group)?;
        client(config(&path).await?)
    }

    /// kubectl, as the administrator.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubectl, &self.kubeconfig, self.folder.path())
    }

    /// Installs the definitions in `yaml` and waits until the API server serves them.
    ///
    /// # Errors
    /// When the API server refuses them.
    pub async fn install_crd(&self, yaml: &str) -> Result<()> {
        self.kubectl().apply(yaml).await?;
        self.await_crds().await
    }

    /// Waits until the API server serves all definitions.
    ///
    /// # Errors
    /// When it does not within half a minute.
    pub async fn await_crds(&self) -> Result<()> {
        let (kubectl, since) = (self.kubectl(), Instant::now());
        let arguments = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
        loop {
            match kubectl.run(&arguments).await {
                // Where the API server has not written any condition yet, kubectl gives up at once.
                Err(Error::Kubectl { stderr, .. })
                    if stderr.contains("accessor error") && since.elapsed() < CRD_LIMIT =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                waited => return waited.map(drop),
            }
        }
    }

    /// What a client needs to be `user` to the API server.
    pub(crate) fn identity(&self, user: &str, group: Option<&str>) -> Result<Identity> {
        self.authority.client(user, group)
    }

    /// The certificate of the authority that signed the API server's, as PEM.
    pub(crate) fn authority(&self) -> String {
        self.authority.certificate()
    }

    pub(crate) fn controllers(&self) -> Controllers {
        self.controllers
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(components::ADDRESS, self.ports.api_server.number())
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
}

/// Makes the one TLS provider in the tree the default of this process. Without it, some clients guess, and others panic.
pub fn install_crypto_provider() {
    // An error says that there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

async fn programs(controllers: Controllers) -> Result<Programs> {
    let task = tokio::task::spawn_blocking(move || Programs::provide(controllers));
    match task.await {
        Ok(programs) => programs,
        Err(error) => Err(Error::Task(error)),
    }
}

fn server(ports: &Ports) -> String {
    format!("https://{}:{}", components::ADDRESS, ports.api_server.number())
}

async fn config(kubeconfig: &Path) -> Result<Config> {
    let file = Kubeconfig::read_from(kubeconfig).map_err(Error::Kubeconfig)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(Error::Kubeconfig)
}

pub(crate) fn client(config: Config) -> Result<Client> {
    Client::try_from(config).map_err(Error::api("make a client"))
}

/// Asks once. The error is the answer, or why there was none.
async fn ask_ready(client: &Client) -> Result<(), String> {
    let request = Request::new("").get("readyz", &GetParams::default()).map_err(|error| error.to_string())?;
    match tokio::time::timeout(Duration::from_secs(2), client.request_text(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("none within 2 s".to_owned()),
    }
}
