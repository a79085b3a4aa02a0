//! The page and `/relay.json` over HTTP. It reads no request body, nothing from disk, and repeats nothing that
//! a request said but a host that is well-formed.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
            CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::Serialize;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{Duration, sleep, timeout},
};

use crate::{
    Limits,
    addresses::{Endpoints, Host},
    assets::{self, Address, Asset},
    places::network,
    shares::Shares,
};

/// What the page may load: nothing but its own files. It may open WebSockets to any host, because a link may
/// name other relays; WebRTC is governed by no directive.
const SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);
/// Scripts of the page that run by themselves: what a worker may load is said by its own answer.
const WORKERS: [&str; 2] = ["miner.js", "service-worker.js"];
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// May be kept, but must be asked about: a rebuilt relay serves a new page at the same addresses.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
/// What has its version in its address never changes; a year, in seconds, is the longest that is commonly asked for.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Pause after the system refused to accept, for want of file descriptors say.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The address of ours that a request arrived at.
#[derive(Debug, Clone, Copy)]
struct LocalIp(IpAddr);

/// Marks an answer that is only a part of a page: the policy of the page governs it. There are many of these, and the
/// policy is longer than some of them.
#[derive(Debug, Clone, Copy)]
struct PartOfPage;

/// What `/relay.json` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RelayDocument {
    peer_id: String,
    addresses: Vec<String>,
    /// STUN servers as browsers take them.
    stun: Vec<String>,
}

/// Everything that is served.
pub(crate) fn site(endpoints: Arc<Endpoints>) -> Router {
    Router::new()
        .route("/relay.json", get(relay_document).fallback(only_get))
        .fallback(get(page_file).fallback(only_get))
        .layer(map_response(with_security_headers))
        .with_state(endpoints)
}

/// Answers connections for ever.
pub(crate) async fn serve(listener: TcpListener, site: Router, limits: Limits) {
    let slots = Arc::new(Semaphore::new(limits.http_connections));
    let shares = Shares::default();
    let mut connections = JoinSet::new();
    loop {
        // Before accepting: connections beyond the limit wait in the system's queue.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "cannot accept an HTTP connection");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        let most = limits.http_connections_per_network;
        let Some(share) = shares.take(network(from.ip()), most) else {
            continue;
        };
        let service = site.clone().layer(Extension(LocalIp(local.ip())));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.http_header_timeout)
            .max_headers(limits.http_headers)
            .max_buf_size(limits.http_header_bytes)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            // A connection that fails or takes too long is the browser's to make again.
            let _ = timeout(limits.http_connection_duration, connection).await;
            drop((slot, share));
        });
    }
}

async fn relay_document(
    State(endpoints): State<Arc<Endpoints>>,
    Extension(LocalIp(local)): Extension<LocalIp>,
    headers: HeaderMap,
) -> Response {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(Host::parse);
    let document = RelayDocument {
        peer_id: endpoints.peer_id.to_string(),
        addresses: endpoints
            .multiaddrs_for(host.clone(), local)
            .iter()
            .map(ToString::to_string)
            .collect(),
        stun: endpoints.stun_for(host, local),
    };
    match serde_json::to_vec(&document) {
        Ok(json) => (
            [
                (CONTENT_TYPE, HeaderValue::from_static("application/json")),
                (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ],
            json,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write the relay document");
            in_words(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The relay cannot tell its addresses.\n",
            )
        }
    }
}

async fn page_file(uri: Uri, headers: HeaderMap) -> Response {
    let path = match uri.path().strip_prefix('/') {
        Some("") | None => "index.html",
        Some(path) => path,
    };
    match assets::at(path) {
        Some((asset, address)) => {
            let mut response = asset_response(asset, address, &headers);
            if is_part_of_page(asset.path) {
                response.extensions_mut().insert(PartOfPage);
            }
            response
        }
        // Browsers ask for it unasked, and report its absence as an error of the page.
        None if path == "favicon.ico" => StatusCode::NO_CONTENT.into_response(),
        None => in_words(
            StatusCode::NOT_FOUND,
            "There is nothing at this address. The page is at /\n",
        ),
    }
}

async fn only_get() -> Response {
    let mut response = in_words(
        StatusCode::METHOD_NOT_ALLOWED,
        "This relay answers GET and HEAD only.\n",
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn in_words(status: StatusCode, words: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, PLAIN_TEXT), (CACHE_CONTROL, REVALIDATE)];
    (status, headers, words).into_response()
}

fn asset_response(asset: &'static Asset, address: Address, request: &HeaderMap) -> Response {
    let accepted = request
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (coding, bytes) = match (asset.brotli, asset.gzip) {
        (Some(brotli), _) if accepts(accepted, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts(accepted, "gzip") => (Some("gzip"), gzip),
        _ => (None, asset.plain),
    };
    // Each form of a file has a tag of its own (RFC 9110, 8.8.3).
    let tag = format!("\"{}{}\"", asset.sha256, coding.unwrap_or_default());

    let mut headers = HeaderMap::new();
    let lifetime = match address {
        Address::Current => REVALIDATE,
        Address::Versioned => IMMUTABLE,
    };
    headers.insert(CACHE_CONTROL, lifetime);
    headers.insert(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    let known = request
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if known
        .split(',')
        .any(|known| known.trim().trim_start_matches("W/") == tag)
    {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(CONTENT_TYPE, content_type(asset.path));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    (headers, Body::from(Bytes::from_static(bytes))).into_response()
}

/// Whether the value of an `Accept-Encoding` header lets us use `coding` (RFC 9110, 12.5.3).
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

/// Whether a file is never a document or a worker of its own. What is not known is taken for one.
fn is_part_of_page(path: &str) -> bool {
    match path.rsplit_once('.') {
        Some((_, "js")) => !WORKERS.contains(&path),
        Some((_, "css" | "wasm" | "ico" | "png")) => true,
        _ => false,
    }
}

async fn with_security_headers(mut response: Response) -> Response {
    let part = response.extensions_mut().remove::<PartOfPage>().is_some();
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    if !part {
        headers.insert(CONTENT_SECURITY_POLICY, SECURITY_POLICY);
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

    #[test]
    fn codings_are_used_only_where_accepted() {
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
    fn documents_and_workers_carry_the_policy_and_so_does_what_is_not_known() {
        for (path, part) in [
            ("index.html", false),
            ("icon.svg", false),
            ("miner.js", false),
            ("service-worker.js", false),
            ("LICENSE", false),
            ("worker.mjs", false),
            ("index.js", true),
            ("styles/base.css", true),
            ("pkg/wasm_node_bg.wasm", true),
        ] {
            assert_eq!(is_part_of_page(path), part, "{path}");
        }
    }

    #[test]
    fn types_are_what_browsers_insist_upon() {
        assert_eq!(content_type("pkg/wasm_node_bg.wasm"), "application/wasm");
        assert_eq!(content_type("index.js"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("LICENSE"), "application/octet-stream");
    }
}
