//! How many objects a page of a list holds.
//!
//! A page is in memory whole, a few times over while it is parsed, and a tenant can make an object a megabyte large. Pages of
//! ten objects bound that, but make thousands of requests of a list of ten thousand. So pages are large as long as their
//! objects are not: a page of more than [`PAGE_BYTES`] is dropped while it comes in, and from then on pages are small.

use futures::future::ready;
use futures::{Stream, StreamExt as _};
use http::{Response, Uri};
use http_body_util::{Either, LengthLimitError, Limited};
use kube::Api;
use kube::client::Body;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;

/// The most bytes of a large page. Small pages need more for the largest objects that there can be.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Pages of more objects are large.
const SMALL_MAX: u32 = 20;

/// How many objects the pages of a list hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageSizes {
    /// As long as they are not too large together.
    pub(super) large: u32,
    /// Otherwise.
    pub(super) small: u32,
}

/// Bounds the answer to a request, if that is for a large page.
pub(super) fn bounded(request: &Uri, answer: Response<Body>) -> Response<Either<Body, Limited<Body>>> {
    let mut parameters = request.query().unwrap_or_default().split('&');
    let limit = parameters.find_map(|parameter| parameter.strip_prefix("limit=")?.parse::<u32>().ok());
    let is_large = limit.is_some_and(|limit| limit > SMALL_MAX);
    answer.map(
        |body| {
            if is_large { Either::Right(Limited::new(body, PAGE_BYTES)) } else { Either::Left(body) }
        },
    )
}

/// Watches objects that are listed in such pages.
pub(super) fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    pages: PageSizes,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let small = watcher(api.clone(), config.clone().page_size(pages.small));
    let large = watcher(api, config.page_size(pages.large));
    let is_bounded = |event: &Result<_, _>| {
        let is_too_large =
            matches!(event, Err(watcher::Error::InitialListFailed(error)) if is_too_large(error));
        ready(!is_too_large)
    };
    large.take_while(is_bounded).chain(small)
}

/// Whether a list failed because a page was too large.
pub(super) fn is_too_large(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(cause) if cause.is::<LengthLimitError>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Client;
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    const PAGES: PageSizes = PageSizes { large: 500, small: 10 };

    /// An API server with one object of this size, and the queries of the lists that it was asked for.
    fn api_server(size: usize) -> (Api<ConfigMap>, Arc<Mutex<Vec<String>>>) {
        let queries = Arc::<Mutex<Vec<String>>>::default();
        let asked = Arc::clone(&queries);
        let item = json!({"metadata": {"name": "a"}, "data": {"it": "x".repeat(size)}});
        let page = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [item]});
        let answer = page.to_string();
        let service = tower::service_fn(move |request: Request<Body>| {
            asked.lock().unwrap().push(request.uri().query().unwrap_or_default().to_owned());
            let answer = Response::new(Body::from(answer.clone().into_bytes()));
            ready(Ok::<_, kube::Error>(bounded(request.uri(), answer)))
        });
        (Api::namespaced(Client::new(service, "shop"), "shop"), queries)
    }

    async fn first_list(size: usize) -> (Vec<String>, Vec<String>) {
        let (api, queries) = api_server(size);
        let mut events = std::pin::pin!(watch(api, watcher::Config::default(), PAGES));
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != "InitDone") {
            seen.push(
                events.next().await.unwrap().map_or_else(|error| error.to_string(), |it| it.to_string()),
            );
        }
        let queries = queries.lock().unwrap().clone();
        (seen, queries)
    }

    #[tokio::test]
    async fn pages_are_large_while_their_objects_are_not() {
        let (seen, queries) = first_list(PAGE_BYTES - 1_000).await;
        assert_eq!(
            (seen.as_slice(), queries),
            (&["Init", "InitApply(a)", "InitDone"].map(str::to_owned)[..], vec!["&limit=500".to_owned()])
        );
    }

    #[tokio::test]
    async fn a_page_that_is_too_large_is_listed_again_in_small_ones() {
        let (seen, queries) = first_list(PAGE_BYTES).await;
        let expected = ["Init", "Init", "InitApply(a)", "InitDone"].map(str::to_owned);
        assert_eq!(
            (seen.as_slice(), queries),
            (&expected[..], ["&limit=500", "&limit=10"].map(str::to_owned).to_vec())
        );
    }
}
