//! What the relay serves by plain http when it has an authority of its own: a page, in both languages of Heartchain, that
//! explains how a device installs the certificate, and why. It never serves Heartchain itself.

use std::sync::Arc;

use axum::{
    Extension, Router,
    http::{HeaderName, HeaderValue, header::CONTENT_SECURITY_POLICY},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};

use super::local_authority::LocalAuthority;
use crate::{
    authority::Authority,
    client::Client,
    http::{CERTIFICATE_PATH, certificate_file, with_common_headers},
};

const PAGE: &str = include_str!("install/page.html");
const STYLE: &str = include_str!("install/page.css");
/// Where the page's links to Heartchain go.
const PLACEHOLDER: &str = "{{https}}";

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The routes by plain http.
pub(crate) fn install_router(authority: Arc<LocalAuthority>) -> Router {
    Router::new()
        .route(CERTIFICATE_PATH, get(certificate_file))
        .route("/install.css", get(style))
        .fallback(get(page))
        .layer(map_response(with_policy))
        .layer(Extension(authority))
}

async fn page(Extension(client): Extension<Client>) -> Response {
    // An authority is well-formed, so it needs no escape.
    let site = client.authority.as_ref().map(Authority::as_https);
    let url = site.unwrap_or_default() + "/";
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let page = PAGE.replace(PLACEHOLDER, &url);
    ([("content-type", html), NO_STORE], page).into_response()
}

async fn style() -> Response {
    let css = HeaderValue::from_static("text/css; charset=utf-8");
    ([("content-type", css), NO_STORE], STYLE).into_response()
}

/// The page depends on the host, and goes when the relay uses another certificate.
const NO_STORE: (&str, HeaderValue) = ("cache-control", HeaderValue::from_static("no-store"));

async fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    with_common_headers(headers);
    headers.insert::<HeaderName>(CONTENT_SECURITY_POLICY, POLICY);
    response
}
