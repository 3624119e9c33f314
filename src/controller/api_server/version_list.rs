//! A list of which only the versions are read.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Resource as _;
use kube::api::{ListParams, Request};
use serde::Deserialize;

use super::super::api_call::{self, CallError};
use super::super::handover::Versions;
use super::super::list_pages::{self, PageSizes};
use super::ApiServer;
use crate::api::IdIssuerCredential;
use crate::core::object_name::NamespacedName;

/// The pages of a list of versions. Only metadata is listed: that can be a quarter of a megabyte.
const VERSION_PAGES: PageSizes = PageSizes { large: 1000, small: 20 };
/// How long such a page may take.
const PAGE_LIMIT: Duration = Duration::from_secs(10);

/// A page of a list, of which only the versions are read.
#[derive(Deserialize)]
struct VersionPage {
    metadata: ListMeta,
    items: Vec<VersionItem>,
}

#[derive(Deserialize)]
struct VersionItem {
    metadata: VersionMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionMeta {
    namespace: String,
    name: String,
    resource_version: String,
}

impl ApiServer {
    /// Lists in which versions the credentials of a namespace are, or of all namespaces: as of one moment, which is not
    /// earlier than the call.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses, or has versions that are not numbers.
    pub(in crate::controller) async fn list_versions(
        &self,
        namespace: Option<&str>,
    ) -> Result<Versions, CallError> {
        // Without a resourceVersion: see `handover`.
        let mut parameters = ListParams::default().limit(VERSION_PAGES.large);
        let mut versions = Versions::new();
        loop {
            let page = api_call::call(PAGE_LIMIT, self.version_page(namespace, &parameters)).await?;
            let Some(page) = page else {
                parameters.limit = Some(VERSION_PAGES.small);
                continue;
            };
            for VersionItem { metadata: VersionMeta { namespace, name, resource_version } } in page.items {
                let version = resource_version.parse().map_err(|_| CallError::Unusable)?;
                versions.insert(NamespacedName::new(namespace, name), version);
            }
            parameters.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if parameters.continue_token.is_none() {
                return Ok(versions);
            }
        }
    }

    /// A page of such a list; none if it is too large.
    async fn version_page(
        &self,
        namespace: Option<&str>,
        parameters: &ListParams,
    ) -> kube::Result<Option<VersionPage>> {
        let request = Request::new(IdIssuerCredential::url_path(&(), namespace)).list_metadata(parameters);
        match self.client.request(request.map_err(kube::Error::BuildRequest)?).await {
            Err(error) if list_pages::is_too_large(&error) => Ok(None),
            page => page.map(Some),
        }
    }
}
