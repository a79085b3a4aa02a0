//! The routes of the HTTP server: the page, `/relay.json` and `/healthz`.
//!
//! They read no request bodies, and no files except those of the folder given with `--page`. The only part of a request
//! that a response may repeat is a well-formed host.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_ENCODING,
            CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use crate::{
    addresses::Endpoints,
    assets::{self, Asset, PathKind},
    client::Client,
    deployment::Deployment,
    hop_limits::HopLimits,
    network::network_of_ip,
    page_folder::{Found, PageFolder},
    tls::local_authority::LocalAuthority,
};

/// Content Security Policy of the page: it may load only its own files. WebSockets to any host are allowed, because a
/// link may name other relays, and so are requests by https, because a deployment may have other relays. The list of these
/// would not do: a service worker keeps the policy that it got first. No directive governs WebRTC.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
     img-src 'self' data:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     connect-src 'self' https: ws: wss:";
/// Scripts that run as workers. A worker is governed by the policy of its own response, not by that of the page.
const WORKERS: [&str; 3] = ["miner.js", "service-worker.js", "verifier.js"];
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// May be cached, but must be revalidated: a rebuilt relay serves a new page at the same URLs.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
/// For URLs that contain the version, whose content never changes. A year, in seconds, is the usual maximum.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Where the relay reports whether it works.
pub(crate) const HEALTH_PATH: &str = "/healthz";
/// Where the certificate of the local authority is.
pub(crate) const CERTIFICATE_PATH: &str = "/ca.crt";
/// The event loop of libp2p runs at least twice a second. If it has not for this long, it is stuck.
const STUCK: Duration = Duration::from_secs(10);

/// When the event loop of libp2p last ran.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    start: Instant,
    /// Milliseconds since `start`.
    last: Arc<AtomicU64>,
}

impl Heartbeat {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            last: Arc::default(),
        }
    }

    /// Records that the event loop runs.
    pub(crate) fn beat(&self) {
        self.last.store(self.millis(), Ordering::Relaxed);
    }

    fn is_recent(&self) -> bool {
        let since = self
            .millis()
            .saturating_sub(self.last.load(Ordering::Relaxed));
        Duration::from_millis(since) < STUCK
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Marks the response for a subresource of the page, which is governed by the policy of the page itself. Such a
/// response omits the policy, because there are many of them and the policy is longer than some of the files.
#[derive(Debug, Clone, Copy)]
struct Subresource;

/// Where the page comes from: a folder on disk, or the binary if that is `None`.
#[derive(Debug, Clone)]
struct PageSource(Option<Arc<PageFolder>>);

/// The content of `/relay.json`, as in docs/protocols.md, "Relay document".
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RelayDocument {
    peer_id: String,
    addresses: Vec<String>,
    /// STUN servers, in the form of `RTCIceServer.urls`.
    stun: Vec<String>,
    /// Whether a new tab of the client's network would get no reservation.
    full: bool,
    /// The relays of the deployment, and the URL of this one among them; nothing if it is the only one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    relays: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// The routes of the server. `authority` is the local one, if the certificate comes from it, and `deployment` has the other
/// relays, if there are any.
pub(crate) fn router(
    endpoints: Arc<Endpoints>,
    page: Option<PageFolder>,
    heartbeat: Heartbeat,
    authority: Option<Arc<LocalAuthority>>,
    deployment: Option<Arc<Deployment>>,
) -> Router {
    let policy = page_policy(deployment.as_deref());
    let mut router = Router::new()
        .route(
            "/relay.json",
            get(relay_document).fallback(method_not_allowed),
        )
        .route(HEALTH_PATH, get(health).fallback(method_not_allowed));
    if let Some(authority) = authority {
        let route = get(certificate_file).fallback(method_not_allowed);
        router = router
            .route(CERTIFICATE_PATH, route)
            .layer(Extension(authority));
    }
    router
        .fallback(get(page_file).fallback(method_not_allowed))
        .layer(map_response(move |response: Response| {
            let policy = policy.clone();
            async move { with_security_headers(response, policy) }
        }))
        .layer(Extension(deployment))
        .layer(Extension(PageSource(page.map(Arc::new))))
        .layer(Extension(heartbeat))
        .with_state(endpoints)
}

async fn relay_document(
    State(endpoints): State<Arc<Endpoints>>,
    Extension(client): Extension<Client>,
    Extension(hop_limits): Extension<HopLimits>,
    Extension(deployment): Extension<Option<Arc<Deployment>>>,
) -> Response {
    let reachable = endpoints.reachable_for(&client);
    let addresses = reachable.multiaddrs.iter().map(ToString::to_string);
    let document = RelayDocument {
        peer_id: endpoints.peer_id.to_string(),
        addresses: addresses.collect(),
        stun: reachable.stun_urls,
        full: !hop_limits.has_room(network_of_ip(client.address.ip())),
        relays: deployment
            .as_deref()
            .map_or_else(Vec::new, Deployment::relays),
        url: deployment.as_deref().map(Deployment::own),
    };
    match serde_json::to_vec(&document) {
        Ok(json) => (
            [
                (CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (CACHE_CONTROL, HeaderValue::from_static("no-store")),
                // The relay serves pages of other origins, too.
                (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            ],
            json,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot serialize the relay document");
            text_response(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The relay could not list its addresses.\n",
            )
        }
    }
}

/// Whether the relay works: it answers at all, and the event loop of libp2p runs.
async fn health(Extension(heartbeat): Extension<Heartbeat>) -> Response {
    if heartbeat.is_recent() {
        text_response(StatusCode::OK, "The relay works.\n")
    } else {
        let stuck = "The relay is stuck. Restart it.\n";
        text_response(StatusCode::SERVICE_UNAVAILABLE, stuck)
    }
}

/// The certificate of the local authority, as devices install it.
pub(crate) async fn certificate_file(
    Extension(authority): Extension<Arc<LocalAuthority>>,
) -> Response {
    let certificate = HeaderValue::from_static("application/x-x509-ca-cert");
    let headers = [
        (CONTENT_TYPE, certificate),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, authority.der().to_vec()).into_response()
}

async fn page_file(
    Extension(PageSource(folder)): Extension<PageSource>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    match folder {
        Some(folder) => file_from_folder(folder, path.to_owned(), &headers).await,
        None => embedded_file(path, &headers),
    }
}

/// The response for a file of the page on disk.
async fn file_from_folder(folder: Arc<PageFolder>, path: String, headers: &HeaderMap) -> Response {
    let found = tokio::task::spawn_blocking(move || folder.read(&path)).await;
    let (path, mut response) = match found {
        Ok(Some(Found::File(path, bytes))) => {
            let no_store = HeaderValue::from_static("no-store");
            let headers = [
                (CONTENT_TYPE, content_type(&path)),
                (CACHE_CONTROL, no_store),
            ];
            (path, (headers, bytes).into_response())
        }
        Ok(Some(Found::Built(path))) => match assets::find(&path) {
            Some(asset) => (path, asset_response(asset, PathKind::Current, headers)),
            None => return not_found(),
        },
        Ok(None) | Err(_) => return not_found(),
    };
    if is_subresource_path(&path) {
        response.extensions_mut().insert(Subresource);
    }
    response
}

/// The response for a file of the page that is part of the binary.
fn embedded_file(path: &str, headers: &HeaderMap) -> Response {
    let path = match path {
        "" => "index.html",
        path => path,
    };
    match assets::lookup(path) {
        Some((asset, path_kind)) => {
            let mut response = asset_response(asset, path_kind, headers);
            if is_subresource_path(asset.path) {
                response.extensions_mut().insert(Subresource);
            }
            response
        }
        // Browsers request it automatically, and log a 404 as an error of the page.
        None if path == "favicon.ico" => StatusCode::NO_CONTENT.into_response(),
        None => not_found(),
    }
}

fn not_found() -> Response {
    text_response(StatusCode::NOT_FOUND, "Not found. The page is at /\n")
}

async fn method_not_allowed() -> Response {
    let mut response = text_response(
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed. This relay answers only GET and HEAD requests.\n",
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// A short text for people, with a status.
pub(crate) fn text_response(status: StatusCode, body: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, PLAIN_TEXT), (CACHE_CONTROL, REVALIDATE)];
    (status, headers, body).into_response()
}

fn asset_response(asset: &'static Asset, path_kind: PathKind, request: &HeaderMap) -> Response {
    let accepted = request
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (coding, bytes) = match (asset.brotli, asset.gzip) {
        (Some(brotli), _) if accepts(accepted, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts(accepted, "gzip") => (Some("gzip"), gzip),
        _ => (None, asset.plain),
    };
    // Each encoding of a file needs its own entity tag (RFC 9110, 8.8.3).
    let tag = format!("\"{}{}\"", asset.sha256, coding.unwrap_or_default());

    let mut headers = HeaderMap::new();
    let lifetime = match path_kind {
        PathKind::Current => REVALIDATE,
        PathKind::Versioned => IMMUTABLE,
    };
    headers.insert(CACHE_CONTROL, lifetime);
    headers.insert(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    let cached_tags = request
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if cached_tags
        .split(',')
        .any(|cached| cached.trim().trim_start_matches("W/") == tag)
    {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(CONTENT_TYPE, content_type(asset.path));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    (headers, Body::from(Bytes::from_static(bytes))).into_response()
}

/// Whether the `Accept-Encoding` header value `header` accepts `coding` (RFC 9110, 12.5.3).
fn accepts(header: &str, coding: &str) -> bool {
    let weight_of = |wanted: &str| {
        header.split(',').find_map(|item| {
            let (name, parameter) = item.split_once(';').unwrap_or((item, ""));
            if !name.trim().eq_ignore_ascii_case(wanted) {
                return None;
            }
            let weight = parameter.trim().strip_prefix("q=").unwrap_or("1");
            Some(weight.trim().parse::<f32>().unwrap_or(0.0))
        })
    };
    weight_of(coding)
        .or_else(|| weight_of("*"))
        .is_some_and(|weight| weight > 0.0)
}

fn content_type(path: &str) -> HeaderValue {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    HeaderValue::from_static(match extension {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "ts" | "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    })
}

/// Whether a file is never loaded as a document or as a worker. Files of unknown types may be, so they do not count.
fn is_subresource_path(path: &str) -> bool {
    match path.rsplit_once('.') {
        Some((_, "js")) => !WORKERS.contains(&path),
        Some((_, "css" | "wasm" | "ico" | "png")) => true,
        _ => false,
    }
}

/// Headers that every response has: other sites must not interpret it as another type, or learn about it.
pub(crate) fn with_common_headers(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// The policy of the page, which also allows requests to other relays on this computer.
fn page_policy(deployment: Option<&Deployment>) -> HeaderValue {
    let others = deployment.map(Deployment::others).unwrap_or_default();
    let local = others.iter().filter(|url| !url.secure);
    let local: String = local
        .map(|url| format!(" http://{}", url.authority))
        .collect();
    HeaderValue::try_from(format!("{PAGE_POLICY}{local}"))
        .unwrap_or(HeaderValue::from_static(PAGE_POLICY))
}

fn with_security_headers(mut response: Response, policy: HeaderValue) -> Response {
    let is_subresource = response.extensions_mut().remove::<Subresource>().is_some();
    let headers = response.headers_mut();
    with_common_headers(headers);
    let site = if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        "cross-origin"
    } else {
        "same-origin"
    };
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static(site));
    if !is_subresource {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers.insert(
            PERMISSIONS_POLICY,
            HeaderValue::from_static("camera=(), microphone=(), geolocation=()"),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::PageUrl;

    #[test]
    fn encodings_are_used_only_if_accepted() {
        for (header, brotli, gzip) in [
            ("", false, false),
            ("gzip, deflate, br, zstd", true, true),
            ("GZIP", false, true),
            ("br;q=0, gzip;q=0.5", false, true),
            ("*", true, true),
            ("*;q=0.1, br;q=0", false, true),
            ("brotli", false, false),
            ("br;q=nonsense", false, false),
            ("identity", false, false),
        ] {
            assert_eq!(accepts(header, "br"), brotli, "{header}");
            assert_eq!(accepts(header, "gzip"), gzip, "{header}");
        }
    }

    #[test]
    fn policy_allows_requests_to_other_relays() {
        let deployment = |own: &str, other: &str| {
            let own = PageUrl::parse_local(own).expect("a URL");
            Deployment::new(own, &[other.parse().expect("a URL")])
        };
        let secure = deployment("https://a.example", "https://b.example");
        let local = deployment("http://127.0.0.1:1", "http://127.0.0.1:2/x");
        for (deployment, expected) in [
            (None, "connect-src 'self' https: ws: wss:"),
            (secure, "connect-src 'self' https: ws: wss:"),
            (
                local,
                "connect-src 'self' https: ws: wss: http://127.0.0.1:2",
            ),
        ] {
            let policy = page_policy(deployment.as_ref());
            let policy = policy.to_str().expect("text");
            assert!(policy.ends_with(expected), "{policy}");
        }
    }

    #[test]
    fn documents_workers_and_unknown_files_get_policy() {
        for (path, expected) in [
            ("index.html", false),
            ("icon.svg", false),
            ("miner.js", false),
            ("service-worker.js", false),
            ("verifier.js", false),
            ("LICENSE", false),
            ("worker.mjs", false),
            ("index.js", true),
            ("index.css", true),
            ("pkg/wasm_node_bg.wasm", true),
        ] {
            assert_eq!(is_subresource_path(path), expected, "{path}");
        }
    }

    #[test]
    fn stuck_event_loop_is_noticed() {
        let mut heartbeat = Heartbeat::new();
        assert!(heartbeat.is_recent());
        let earlier = heartbeat.start.checked_sub(STUCK);
        heartbeat.start = earlier.expect("the computer runs for longer");
        assert!(!heartbeat.is_recent());
        heartbeat.beat();
        assert!(heartbeat.is_recent());
    }

    #[test]
    fn content_types_suit_browsers() {
        assert_eq!(content_type("pkg/wasm_node_bg.wasm"), "application/wasm");
        assert_eq!(content_type("index.js"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("LICENSE"), "application/octet-stream");
    }
}
