//! What the workers serve by: settings, catalogue and pages, made once by control and never changed.
//!
//! A reload makes another [`Site`], which takes the place of the old one between two turns. Everything that can be
//! worked out beforehand is: rules are sorted by suffix, pages carry their tags, keys are expanded.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::response::AllowOrigin;
use http::signature::Keys;
use platform::RootId;
use web::session::Terms;

use crate::catalogue::Catalogue;
use crate::page::Pages;
use crate::settings::{Settings, SettingsError};

/// What is served, and how. Shared by the workers, read only.
#[derive(Debug)]
pub struct Site {
    pub(crate) settings: Settings,
    pub(crate) root: RootId,
    pub(crate) terms: Terms,
    pub(crate) keys: Keys,
    pub(crate) pages: Option<Pages>,
    cache: BTreeMap<String, String>,
    cache_default: String,
    any_origin: bool,
    /// The fields that go with every response: the operator's, and those that keep browsers from guessing.
    fields: Vec<(String, String)>,
}

/// How the workers hold a site.
pub type Snapshot = Arc<Site>;

impl Site {
    /// Prepares what `settings` ask for. `root` is what the disk calls the served directory.
    ///
    /// # Errors
    /// The settings cannot be meant.
    pub fn new(settings: Settings, root: RootId, catalogue: &Catalogue) -> Result<Self, SettingsError> {
        settings.check()?;
        let keys = settings.keys()?;
        // With signed URLs a shared cache would hand out what it was not asked to guard.
        let value =
            |text: &str| if keys.is_empty() { text.to_owned() } else { text.replace("public", "private") };
        let mut cache = BTreeMap::new();
        for rule in &settings.cache {
            for suffix in &rule.suffixes {
                cache.entry(suffix.clone()).or_insert_with(|| value(&rule.value));
            }
        }
        let mut fields = vec![("X-Content-Type-Options".to_owned(), "nosniff".to_owned())];
        fields.retain(|(ours, _)| !settings.fields.keys().any(|name| name.eq_ignore_ascii_case(ours)));
        fields.extend(settings.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok(Self {
            root,
            terms: settings.terms(),
            pages: settings.has_page().then(|| Pages::new(&catalogue.to_json(&settings.title))),
            cache,
            cache_default: value(&settings.cache_default),
            any_origin: settings.cors_origins.iter().any(|origin| origin == "*"),
            fields,
            keys,
            settings,
        })
    }

    /// The settings it was made from.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The keys that sign URLs.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The Cache-Control of a file.
    pub(crate) fn cache_control(&self, path: &[u8]) -> &str {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        let suffix = name.iter().rposition(|&byte| byte == b'.').map_or(&b""[..], |dot| &name[dot + 1..]);
        // The rules' suffixes are short: a long one has none.
        let mut lower = [0; 16];
        let rule = lower.get_mut(..suffix.len()).and_then(|lower| {
            lower.copy_from_slice(suffix);
            lower.make_ascii_lowercase();
            self.cache.get(core::str::from_utf8(lower).ok()?)
        });
        rule.unwrap_or(&self.cache_default)
    }

    /// Whether scripts of `origin` may read what is served; nothing when the operator wants no word of it.
    pub(crate) fn allow_origin(&self, origin: Option<&[u8]>) -> Option<AllowOrigin<'_>> {
        if self.any_origin {
            return Some(AllowOrigin::Any);
        }
        if self.settings.cors_origins.is_empty() {
            return None;
        }
        let known =
            origin.and_then(|origin| self.settings.cors_origins.iter().find(|one| one.as_bytes() == origin));
        Some(known.map_or(AllowOrigin::Refused, |origin| AllowOrigin::One(origin)))
    }

    /// The fields that go with every response.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{CacheRule, Secret};

    fn site(settings: Settings) -> Site {
        Site::new(settings, RootId(0), &Catalogue::default()).unwrap()
    }

    #[test]
    fn playlists_are_short_lived_and_segments_are_not() {
        let site = site(Settings::default());
        assert_eq!(site.cache_control(b"a/index.m3u8"), "public, max-age=2");
        assert_eq!(site.cache_control(b"a/SEG.M4S"), "public, max-age=31536000, immutable");
        assert_eq!(site.cache_control(b"a/readme"), "public, max-age=60");
        assert_eq!(site.cache_control(b"a.m4s/readme"), "public, max-age=60");
        assert_eq!(site.cache_control(b"a.a-very-long-suffix-indeed"), "public, max-age=60");
    }

    #[test]
    fn the_first_rule_for_a_suffix_counts() {
        let rule = |value: &str| CacheRule { suffixes: vec!["mp4".to_owned()], value: value.to_owned() };
        let site = site(Settings { cache: vec![rule("one"), rule("two")], ..Settings::default() });
        assert_eq!(site.cache_control(b"a.mp4"), "one");
    }

    #[test]
    fn with_keys_nothing_is_public_and_there_is_no_page() {
        let keys = vec![Secret::new("0123456789abcdef".to_owned())];
        let site = site(Settings { signing_keys: keys, ..Settings::default() });
        assert_eq!(site.cache_control(b"a.mp4"), "private, max-age=3600");
        assert!(site.pages.is_none());
    }

    #[test]
    fn origins_are_any_or_listed_or_not_spoken_of() {
        assert_eq!(site(Settings::default()).allow_origin(None), Some(AllowOrigin::Any));
        let none = site(Settings { cors_origins: Vec::new(), ..Settings::default() });
        assert_eq!(none.allow_origin(Some(b"https://a")), None);
        let listed = site(Settings { cors_origins: vec!["https://a".to_owned()], ..Settings::default() });
        assert_eq!(listed.allow_origin(Some(b"https://a")), Some(AllowOrigin::One("https://a")));
        assert_eq!(listed.allow_origin(Some(b"https://b")), Some(AllowOrigin::Refused));
        assert_eq!(listed.allow_origin(None), Some(AllowOrigin::Refused));
    }

    #[test]
    fn an_operators_field_takes_the_place_of_ours() {
        let fields = BTreeMap::from([("x-content-type-options".to_owned(), "none".to_owned())]);
        let site = site(Settings { fields, ..Settings::default() });
        assert_eq!(site.fields().collect::<Vec<_>>(), [("x-content-type-options", "none")]);
    }
}
