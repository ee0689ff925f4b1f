//! The APIs that are known, and what is wanted of them.
//!
//! The protocols are those of their documentation and of answers that were seen. Dome's own service has ended; others
//! speak its protocol, so its base URL is a setting.

use super::endpoint::Endpoint;
use super::pager::Reach;
use crate::error::{Error, Result};

/// An API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// Dome's protocol: trades with their order hash and log index, markets, events.
    Dome,
    /// Polymarket's Data API, version 2, and Gamma.
    Polymarket,
    /// Polymarket's Data API, version 1, and Gamma.
    PolymarketV1,
}

const DOME_REACH: Reach = Reach { last_offset: 10_000, by_time: true, shifts: false, numbers: false };
const KEYED_REACH: Reach = Reach { last_offset: 0, by_time: false, shifts: false, numbers: false };

const DOME_ORDERS: Endpoint = Endpoint {
    name: "Dome's orders",
    path: "polymarket/orders",
    rows_in: Some("orders"),
    most_rows: 1_000,
    reach: DOME_REACH,
    is_timed: true,
    span: Some(("start_time", "end_time")),
    key: None,
    most_keys: 0,
    cursor: Some("pagination_key"),
    silence_is_end: false,
    always: &[],
};

const DOME_MARKETS: Endpoint = Endpoint {
    name: "Dome's markets",
    path: "polymarket/markets",
    rows_in: Some("markets"),
    most_rows: 100,
    reach: Reach { by_time: false, ..DOME_REACH },
    is_timed: false,
    span: None,
    key: Some("condition_id"),
    // Longer addresses are refused by many servers.
    most_keys: 40,
    cursor: Some("pagination_key"),
    silence_is_end: false,
    always: &[],
};

const DOME_EVENTS: Endpoint = Endpoint {
    name: "Dome's events",
    path: "polymarket/events",
    rows_in: Some("events"),
    key: Some("event_slug"),
    // The documentation knows one.
    most_keys: 1,
    ..DOME_MARKETS
};

const TRADES_V2: Endpoint = Endpoint {
    name: "the Data API's trades",
    path: "v2/trades",
    rows_in: Some("data"),
    most_rows: 1_000,
    reach: Reach { last_offset: 0, by_time: true, shifts: false, numbers: true },
    is_timed: true,
    span: Some(("start", "end")),
    key: None,
    most_keys: 0,
    cursor: Some("cursor"),
    silence_is_end: false,
    // Both sides of a trade; without it only the taker's.
    always: &[("taker_only", "false")],
};

const TRADES_V1: Endpoint = Endpoint {
    path: "trades",
    rows_in: None,
    // It can't be asked for a time: whoever wants the past walks there from now.
    reach: Reach { last_offset: 3_000, by_time: false, shifts: true, numbers: true },
    span: None,
    cursor: None,
    always: &[("takerOnly", "false")],
    ..TRADES_V2
};

const GAMMA_MARKETS: Endpoint = Endpoint {
    name: "Gamma's markets",
    path: "markets/keyset",
    rows_in: Some("markets"),
    most_rows: 100,
    reach: KEYED_REACH,
    is_timed: false,
    span: None,
    key: Some("condition_ids"),
    most_keys: 40,
    cursor: Some("after_cursor"),
    silence_is_end: true,
    always: &[],
};

const GAMMA_EVENTS: Endpoint = Endpoint {
    name: "Gamma's events",
    path: "events/keyset",
    rows_in: Some("events"),
    key: Some("slug"),
    most_keys: 40,
    ..GAMMA_MARKETS
};

const GAMMA_MARKETS_BY_OFFSET: Endpoint = Endpoint {
    path: "markets",
    rows_in: None,
    reach: Reach { last_offset: 10_000, ..KEYED_REACH },
    cursor: None,
    silence_is_end: false,
    ..GAMMA_MARKETS
};

const GAMMA_EVENTS_BY_OFFSET: Endpoint = Endpoint {
    path: "events",
    rows_in: None,
    reach: Reach { last_offset: 10_000, ..KEYED_REACH },
    cursor: None,
    silence_is_end: false,
    ..GAMMA_EVENTS
};

/// An API, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Which one.
    pub kind: SourceKind,
    /// Where trades are, without a slash at the end.
    pub base_url: String,
    /// Where markets and events are, without a slash at the end.
    pub catalogue_url: String,
    /// Whether lists of markets and events are paged by offset, for a server that knows no cursors there.
    pub by_offset: bool,
}

impl Source {
    /// The API at its usual addresses.
    pub fn usual(kind: SourceKind) -> Source {
        let (base_url, catalogue_url) = match kind {
            SourceKind::Dome => ("https://api.domeapi.io/v1", "https://api.domeapi.io/v1"),
            _ => ("https://data-api.polymarket.com", "https://gamma-api.polymarket.com"),
        };
        Source { kind, base_url: base_url.into(), catalogue_url: catalogue_url.into(), by_offset: false }
    }

    /// The name of the dataset that its trades are.
    pub fn trades(&self) -> &'static str {
        match self.kind {
            SourceKind::Dome => "trades",
            _ => "polymarket_trades",
        }
    }

    /// The endpoint that gives rows of a dataset.
    ///
    /// # Errors
    /// Usage, when it has none. Rows without order hash and log index can't become `trades`.
    pub fn endpoint(&self, dataset: &str) -> Result<Endpoint> {
        let polymarket = self.kind != SourceKind::Dome;
        Ok(match (dataset, polymarket, self.by_offset) {
            ("trades", false, _) => DOME_ORDERS,
            ("markets", false, _) => DOME_MARKETS,
            ("events", false, _) => DOME_EVENTS,
            ("polymarket_trades", true, _) if self.kind == SourceKind::PolymarketV1 => TRADES_V1,
            ("polymarket_trades", true, _) => TRADES_V2,
            ("markets", true, false) => GAMMA_MARKETS,
            ("markets", true, true) => GAMMA_MARKETS_BY_OFFSET,
            ("events", true, false) => GAMMA_EVENTS,
            ("events", true, true) => GAMMA_EVENTS_BY_OFFSET,
            ("trades", true, _) => {
                return Err(Error::usage("fetch trades from Polymarket's Data API")
                    .with("dataset", dataset)
                    .because(
                        "its rows have neither order hash nor log index, so equal fills of one transaction would \
                         become one",
                    )
                    .hint("use the dataset polymarket_trades, which numbers equal fills and is a table of its own"));
            }
            _ => {
                return Err(Error::usage("fetch a dataset")
                    .with("dataset", dataset)
                    .because("the source has no such rows")
                    .hint("datasets of your own are filled from files; leave out --source"));
            }
        })
    }

    /// Where an endpoint for a dataset is.
    pub fn url_of(&self, dataset: &str) -> &str {
        match dataset {
            "markets" | "events" => &self.catalogue_url,
            _ => &self.base_url,
        }
    }

    /// Which markets may still change: those in which a column of the dataset `markets`, as text, equals a text.
    pub fn open_markets(&self) -> (&'static str, &'static str) {
        match self.kind {
            SourceKind::Dome => ("status", "open"),
            _ => ("closed", "false"),
        }
    }

    /// The parameter's name by which the API knows a filter: `user` and `market` are each called the same everywhere.
    ///
    /// # Errors
    /// Usage, when the API has no such filter.
    pub fn parameter(&self, filter: &str) -> Result<&'static str> {
        match (self.kind, filter) {
            (_, "user") => Ok("user"),
            (SourceKind::Dome | SourceKind::Polymarket, "market") => Ok("condition_id"),
            (SourceKind::PolymarketV1, "market") => Ok("market"),
            (SourceKind::Dome, "market_slug") => Ok("market_slug"),
            (SourceKind::Dome, "token") => Ok("token_id"),
            _ => Err(Error::usage("filter what is fetched")
                .with("filter", filter)
                .because("the source knows no such filter")
                .hint("all sources know --user and --market; Dome's protocol --market-slug and --token as well")),
        }
    }
}

/// What is followed: rows of one dataset from one source under one filter. It has a checkpoint of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The source's address.
    pub url: String,
    /// How it is asked.
    pub endpoint: Endpoint,
    /// Parameters that choose rows.
    pub filter: Vec<(String, String)>,
}

impl Feed {
    /// Its name in the ledger: the same for the same rows.
    pub fn name(&self) -> String {
        let filter: Vec<String> = self.filter.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{}/{}{}", self.url, self.endpoint.path, filter.concat())
    }

    /// A short name without blanks, for folders.
    pub fn digest(&self) -> String {
        blake3::hash(self.name().as_bytes()).to_hex()[..16].to_string()
    }
}
