//! What the demo plays on: an API server, two issuers, the controller, and the samples.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use idissuer::ops::clock::{Clock as _, SystemClock};
use idissuer_simulator::{Config, RefreshAccepted, Server, Simulator, Tls, User};
use idissuer_testbed::process::{Grace, Supervised};
use idissuer_testbed::{ControlPlane, Options};
use kube::Client;

use crate::samples::Samples;
use crate::{Outcome, TOKEN_LIFETIME, say, seconds};

const CRD: &str = include_str!("../../crds/idissuer.pl_idissuercredentials.yaml");
/// The rights of the installed operator, and the namespace of its lease.
const RIGHTS: [&str; 2] =
    [include_str!("../../deploy/base/namespace.yaml"), include_str!("../../deploy/base/rbac.yaml")];
/// The controller's user: it may do what these say, and nothing else.
const USER: &str = "system:serviceaccount:idissuer-operator:idissuer-operator";

/// Everything that runs. It ends when this is dropped, or when the process ends.
pub(crate) struct Stage {
    // Dropped in this order: the controller goes before what it works with.
    controller: Supervised,
    issuer: Server,
    private_issuer: Server,
    client: Client,
    control_plane: ControlPlane,
}

impl Stage {
    /// Brings everything up, and tells each step.
    pub(crate) async fn start(clock: &SystemClock) -> Outcome<Self> {
        let start = clock.now();
        let step = |text: &str| {
            say(&format!("{:>7}  {text}", seconds(clock.now().monotonic - start.monotonic)));
        };
        let program = controller_program()?;
        let control_plane = ControlPlane::start(Options::new().crd(CRD)).await?;
        step(&format!("Kubernetes API server at {}, with the CRD", control_plane.server()));

        let samples = Samples::read()?;
        let issuer = start_issuer(&samples, Tls::Off, RefreshAccepted::Early).await?;
        let private_issuer = start_issuer(&samples, Tls::localhost(), RefreshAccepted::AfterExpiry).await?;
        let lifetime = TOKEN_LIFETIME.as_secs();
        step(&format!("ID Issuer at {} (tokens live {lifetime} s)", issuer.url()));
        step(&format!("ID Issuer at {} (private CA, no early refresh)", private_issuer.url()));

        let kubectl = control_plane.kubectl();
        kubectl.apply(&RIGHTS.join("---\n")).await?;
        let mut command = Command::new(program);
        command
            .arg("controller")
            .arg(format!("--issuer-url={}", issuer.url()))
            .arg(format!("--allow-issuer={}", private_issuer.url()))
            .arg("--admin-addr=127.0.0.1:0")
            .args(["--leader-elect", "--lease-namespace=idissuer-operator"])
            .env("KUBECONFIG", control_plane.kubeconfig_as(USER, None)?);
        let controller = Supervised::spawn("controller", &command, Grace::SHORT, control_plane.folder())?;
        step("idissuer controller, with the rights of deploy/base/rbac.yaml");

        kubectl.apply(&samples.manifests(&private_issuer.url(), private_issuer.ca_pem())?).await?;
        step("kubectl apply -f deploy/samples");

        let bin = control_plane.folder().path().join("bin");
        std::fs::create_dir(&bin)?;
        symlink(kubectl.program(), bin.join("kubectl"))?;
        let client = control_plane.client()?;
        Ok(Self { controller, issuer, private_issuer, client, control_plane })
    }

    /// How a person can look at it meanwhile.
    pub(crate) fn hints(&self) -> Vec<String> {
        let folder = self.control_plane.folder().path();
        vec![
            String::new(),
            "Look from another terminal:".to_owned(),
            format!("  export KUBECONFIG={}", self.control_plane.kubeconfig().display()),
            format!("  export PATH={}:$PATH", folder.join("bin").display()),
            "  kubectl get iic --watch".to_owned(),
            "  kubectl describe iic simple".to_owned(),
            "  kubectl delete secret simple         # it is back at once".to_owned(),
            format!("  tail -f {}", self.controller.output_path().display()),
        ]
    }

    /// What the issuers were asked for.
    pub(crate) fn summary(&self) -> String {
        let (ours, private) = (self.issuer.counts().total(), self.private_issuer.counts().total());
        let sum = |of: fn(&idissuer_simulator::UserCounts) -> u64| of(&ours) + of(&private);
        format!(
            "The issuers answered {} logins and {} refreshes, and refused {}.",
            sum(|counts| counts.logins_accepted),
            sum(|counts| counts.refreshes_accepted),
            sum(|counts| counts.logins_rejected + counts.refreshes_refused),
        )
    }

    /// The administrator's client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The issuer of credentials that name none.
    pub(crate) fn issuer_url(&self) -> String {
        self.issuer.url()
    }

    /// The authority of the private issuer, in PEM.
    pub(crate) fn private_ca(&self) -> &str {
        self.private_issuer.ca_pem().unwrap_or_default()
    }

    /// The exit code of the controller, which should have none yet.
    pub(crate) fn controller_exit_code(&self) -> Option<i32> {
        self.controller.exit_code()
    }

    /// What it printed last.
    pub(crate) fn controller_log(&self) -> String {
        self.controller.output_tail()
    }
}

/// The real binary, which cargo puts beside the folder of the examples.
fn controller_program() -> Outcome<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(|examples| examples.parent());
    let program = folder.map(|folder| folder.join("idissuer")).filter(|program| program.is_file());
    Ok(program.ok_or("the binary `idissuer` is not built; start the demo with `make demo`")?)
}

async fn start_issuer(samples: &Samples, tls: Tls, refresh: RefreshAccepted) -> Outcome<Server> {
    let mut config = Config::default().tls(tls).user(User::new("demo@idissuer.pl", "demo"));
    for (name, password) in samples.accounts() {
        config = config.user(User::new(name, password));
    }
    let config = config.personality(|personality| {
        personality.token.lifetime = TOKEN_LIFETIME;
        personality.refresh.accepted = refresh;
    });
    Ok(Simulator::start(config).await?)
}
