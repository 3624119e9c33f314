//! Waiting for a condition, with a limit instead of a sleep.
//!
//! What does not come about in time panics, with what was waited for and what was seen last: it is a failed test. The
//! limits go by the real clock, also where a test has paused tokio's.

use std::fmt::{Debug, Display};
use std::panic::Location;
use std::time::{Duration, Instant};

use futures::{StreamExt, pin_mut};
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::inventory;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// What a look at a condition found.
pub trait Observation<T> {
    /// The value that was waited for, or what is there instead.
    ///
    /// # Errors
    /// What is there instead, for a person to read.
    fn outcome(self) -> Result<T, String>;
}

impl<T> Observation<T> for Option<T> {
    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: Display> Observation<T> for Result<T, E> {
    fn outcome(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}

impl Observation<()> for bool {
    fn outcome(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "not so".to_owned())
    }
}

/// Looks until it finds: a value, or at least `true`.
///
/// A look returns an `Option`, a `bool`, or a `Result` whose error is what it saw instead; the last of them is in the
/// text of the panic.
///
/// # Panics
/// When it has not found it within `limit`.
#[track_caller]
pub fn until<T, O, F>(what: &str, limit: Duration, mut look: F) -> impl Future<Output = T>
where
    O: Observation<T>,
    F: AsyncFnMut() -> O,
{
    let caller = Location::caller();
    async move {
        let start = Instant::now();
        let mut last = "nothing, not even the first look ended".to_owned();
        let looking = async {
            loop {
                match look().await.outcome() {
                    Ok(value) => return value,
                    Err(seen) => last = seen,
                }
                pause(POLL).await;
            }
        };
        let found = within(limit, looking).await;
        found.unwrap_or_else(|| fail(what, start, &last, caller))
    }
}

/// Watches the object `name` until there is one of which `condition` holds, and returns it as it was then.
///
/// It lasts over a restart of the API server.
///
/// # Panics
/// When the condition does not hold within `limit`. The text shows the object, of a Secret the metadata only.
#[track_caller]
pub fn object<K: Watched>(
    api: &Api<K>,
    name: &str,
    what: &str,
    limit: Duration,
    mut condition: impl FnMut(&K) -> bool,
) -> impl Future<Output = K> {
    let caller = Location::caller();
    watch(api, name, what, limit, caller, move |object| object.filter(|object| condition(object)))
}

/// Watches the object `name` until there is none.
///
/// # Panics
/// When it is there after `limit`. The text shows the object, of a Secret the metadata only.
#[track_caller]
pub fn gone<K: Watched>(api: &Api<K>, name: &str, limit: Duration) -> impl Future<Output = ()> {
    let caller = Location::caller();
    watch(api, name, "its end", limit, caller, |object| object.is_none().then_some(()))
}

/// A kind of object that can be watched and shown.
pub trait Watched:
    Resource<DynamicType: Default> + Clone + Debug + DeserializeOwned + Serialize + Send + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType: Default> + Clone + Debug + DeserializeOwned + Serialize + Send + 'static
{
}

async fn watch<K: Watched, T>(
    api: &Api<K>,
    name: &str,
    what: &str,
    limit: Duration,
    caller: &Location<'_>,
    mut select: impl FnMut(Option<K>) -> Option<T>,
) -> T {
    let start = Instant::now();
    let mut last = "no answer of the API server".to_owned();
    let watching = async {
        loop {
            let objects = watch_object(api.clone(), name);
            pin_mut!(objects);
            while let Some(seen) = objects.next().await {
                match seen {
                    Ok(object) => {
                        last = describe(object.as_ref());
                        if let Some(selected) = select(object) {
                            return selected;
                        }
                    }
                    Err(error) => {
                        last = format!("an error: {error}");
                        break;
                    }
                }
            }
            pause(POLL).await;
        }
    };
    let found = within(limit, watching).await;
    found.unwrap_or_else(|| fail(&format!("{what} ({name})"), start, &last, caller))
}

fn describe<K: Serialize>(object: Option<&K>) -> String {
    match object.map(serde_json::to_value) {
        None => "no such object".to_owned(),
        Some(Ok(value)) => inventory::without_secrets(value).to_string(),
        Some(Err(error)) => format!("an object that cannot be shown: {error}"),
    }
}

/// The work's result, if it comes within `limit` of real time.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let start = Instant::now();
    let deadline = async {
        while let Some(left) = limit.checked_sub(start.elapsed()) {
            pause(left.min(POLL)).await;
        }
    };
    tokio::select! {
        biased;
        value = work => Some(value),
        () = deadline => None,
    }
}

/// Sleeps in real time; tokio's clock may be paused, and then it runs ahead.
async fn pause(duration: Duration) {
    let start = Instant::now();
    loop {
        tokio::time::sleep(duration).await;
        if start.elapsed() >= duration {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[expect(clippy::panic, reason = "it ends a test that has failed")]
fn fail(what: &str, start: Instant, last: &str, caller: &Location<'_>) -> ! {
    panic!("waited {:.1} s for: {what}\n  at {caller}\n  last seen: {last}", start.elapsed().as_secs_f32());
}
