//! Every screen is well-formed HTML, whatever names stand in it, and keeps the policy.

mod samples;

use std::collections::{BTreeSet, HashSet};

use samples::{Data, hostile, live_parts, pages, reports};

/// Elements without an end tag.
const VOID: [&str; 8] = ["meta", "link", "input", "br", "img", "hr", "source", "wbr"];

/// A tag of a page: its name, its attributes, and whether it ends an element or closes itself.
#[derive(Debug)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
    is_end: bool,
    is_whole: bool,
}

impl Tag {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads the tags of a page, strictly: attributes have quotes, and `<` stands only at a tag.
fn tags(html: &str) -> Result<Vec<Tag>, String> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix("!doctype html>") {
            rest = after;
            continue;
        }
        let (tag, after) = read_tag(rest)
            .map_err(|why| format!("{why} at {:?}", rest.chars().take(60).collect::<String>()))?;
        rest = after;
        if matches!(&*tag.name, "script" | "style") && !tag.is_end {
            let end = rest.find(&format!("</{}>", tag.name)).ok_or("a script has no end")?;
            rest = &rest[end..];
        }
        tags.push(tag);
    }
    Ok(tags)
}

fn read_tag(text: &str) -> Result<(Tag, &str), String> {
    let is_end = text.starts_with('/');
    let mut rest = text.trim_start_matches('/');
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).ok_or("the tag has no end")?;
    if length == 0 {
        return Err("a `<` is no tag".to_owned());
    }
    let name = rest[..length].to_owned();
    rest = &rest[length..];
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("/>") {
            return Ok((Tag { name, attributes, is_end, is_whole: true }, after));
        }
        if let Some(after) = rest.strip_prefix('>') {
            return Ok((Tag { name, attributes, is_end, is_whole: false }, after));
        }
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-:_".contains(c)));
        let length = length.filter(|length| *length > 0).ok_or("an attribute has no name")?;
        let key = rest[..length].to_owned();
        rest = &rest[length..];
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix('=') {
            let quote = after.chars().next().filter(|c| "\"'".contains(*c)).ok_or("no quotes")?;
            let end = after[1..].find(quote).ok_or("the value has no end")?;
            after[1..=end].clone_into(&mut value);
            rest = &after[end + 2..];
        }
        if attributes.iter().any(|(other, _): &(String, _)| *other == key) {
            return Err(format!("{key} stands twice"));
        }
        attributes.push((key, value));
    }
}

/// Checks that every element ends where it should.
fn check_balance(tags: &[Tag]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for tag in tags {
        if tag.is_end {
            match open.pop() {
                Some(name) if name == tag.name => {}
                other => return Err(format!("</{}> ends {other:?}", tag.name)),
            }
        } else if !tag.is_whole && !VOID.contains(&tag.name.as_str()) {
            open.push(&tag.name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?} have no end")) }
}

/// Checks what the policy forbids, and what would lead elsewhere.
fn check_policy(tags: &[Tag]) -> Result<(), String> {
    match tags.iter().find(|tag| is_inline(tag)) {
        Some(tag) => Err(format!("<{}> stands in the page", tag.name)),
        None => check_links(tags),
    }
}

/// Returns whether a style or a script stands in the page, which is not data.
fn is_inline(tag: &Tag) -> bool {
    let is_data = tag.get("type") == Some("application/json");
    tag.name == "style"
        || tag.name == "script" && !tag.is_end && !is_data && tag.get("src").is_none()
}

/// Checks that no attribute runs a script, sets a style, or leads elsewhere.
fn check_links(tags: &[Tag]) -> Result<(), String> {
    for tag in tags {
        for (key, value) in &tag.attributes {
            let is_event = key.starts_with("on") || key.starts_with("hx-on");
            let is_link = matches!(key.as_str(), "href" | "src" | "action" | "formaction");
            let is_own = value.is_empty()
                || value.starts_with('/') && !value.starts_with("//")
                || value.starts_with('#')
                || value.starts_with("otpauth:")
                || value == "data:,";
            if is_event || key == "style" || (is_link && !is_own) {
                return Err(format!("<{} {key}={value:?}>", tag.name));
            }
        }
    }
    Ok(())
}

/// Checks ids: each stands once, and every reference names one.
fn check_ids(tags: &[Tag]) -> Result<(), String> {
    let mut ids = HashSet::new();
    for id in tags.iter().filter_map(|tag| tag.get("id")) {
        if !ids.insert(id) {
            return Err(format!("the id {id} stands twice"));
        }
    }
    let names = ["aria-labelledby", "aria-describedby", "for", "data-dialog", "popovertarget"];
    for tag in tags {
        for name in names {
            for id in tag.get(name).unwrap_or_default().split_whitespace() {
                if !ids.contains(id) {
                    return Err(format!("{name}={id:?} of <{}> names nothing", tag.name));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_page_is_well_formed() {
    for data in Data::ALL {
        for (name, html) in pages(data).unwrap() {
            let tags = tags(&html).unwrap_or_else(|why| panic!("{name} {}: {why}", data.name()));
            for check in [check_balance, check_policy, check_ids] {
                check(&tags).unwrap_or_else(|why| panic!("{name} {}: {why}", data.name()));
            }
            assert!(
                html.starts_with("<!doctype html>\n<html lang=\"en\""),
                "{name} {}",
                data.name()
            );
            assert_eq!(html.matches("<h1").count(), 1, "{name} {}", data.name());
        }
        for (name, html) in live_parts(data).unwrap() {
            check_balance(&tags(&html).unwrap())
                .unwrap_or_else(|why| panic!("{name} {}: {why}", data.name()));
        }
    }
}

/// A report is one file: nothing in it leads elsewhere, and its own styles and scripts stand in it once.
#[test]
fn every_report_is_well_formed() {
    for data in Data::ALL {
        for (name, html) in reports(data).unwrap() {
            let place = format!("{name} {}", data.name());
            let tags = tags(&html).unwrap_or_else(|why| panic!("{place}: {why}"));
            for check in [check_balance, check_links, check_ids] {
                check(&tags).unwrap_or_else(|why| panic!("{place}: {why}"));
            }
            let inline = tags.iter().filter(|tag| is_inline(tag) && !tag.is_end);
            let inline: Vec<&str> = inline.map(|tag| &*tag.name).collect();
            assert_eq!(inline, ["style", "script"], "{place}");
            assert!(
                html.contains("default-src &#39;none&#39;") || html.contains("default-src 'none'")
            );
            assert_eq!(html.matches("<script>alert").count(), 0, "{place}");
        }
    }
}

#[test]
fn the_checks_find_what_is_planted() {
    for broken in ["<p><b></p></b>", "<p>", "</p>"] {
        assert!(check_balance(&tags(broken).unwrap()).is_err(), "{broken}");
    }
    for broken in ["<p a=b>", "a < b", "<p a=\"1\" a=\"2\">", "<script>"] {
        assert!(tags(broken).is_err(), "{broken}");
    }
    for broken in [
        "<p onclick=\"x\">",
        "<p style=\"x\">",
        "<a href=\"https://x\">",
        "<a href=\"//x\">",
        "<script></script>",
    ] {
        assert!(check_policy(&tags(broken).unwrap()).is_err(), "{broken}");
    }
    assert!(check_ids(&tags("<p id=\"a\"></p><p id=\"a\"></p>").unwrap()).is_err());
    assert!(check_ids(&tags("<label for=\"a\"></label>").unwrap()).is_err());
}

#[test]
fn hostile_names_are_text() {
    let mut seen = BTreeSet::new();
    let reports = reports(Data::Hostile).unwrap();
    for (name, html) in pages(Data::Hostile).unwrap().into_iter().chain(reports) {
        for raw in [
            "<script>alert",
            "<img",
            "<svg onload",
            "</title></textarea>",
            "\u{202E}",
            "\u{2066}",
            "{{7*7}}{%",
        ] {
            let is_template = raw == "{{7*7}}{%";
            assert!(is_template || !html.contains(raw), "{name}: {raw:?}");
        }
        for (index, text) in hostile().iter().enumerate() {
            let shown = nucleus_console::ShownName::new(text.as_str()).to_string();
            if html.contains(&shown) {
                seen.insert(index);
            }
        }
    }
    // Otherwise the test would pass because no page shows them.
    assert_eq!(seen.len(), hostile().len(), "{seen:?}");
}

#[test]
fn a_reader_sees_no_act_that_the_role_forbids() {
    let pages = pages(Data::Designed).unwrap();
    let page = |name: &str| &pages.iter().find(|(found, _)| *found == name).unwrap().1;
    for act in ["/kick", "/mute", "/lock", "/close", "/ban\""] {
        assert!(page("room").contains(act), "{act}");
        assert!(!page("room-viewer").contains(act), "{act}");
    }
    assert!(page("overview").contains("/drain"));
    assert!(!page("overview-partner").contains("/drain"));
    assert!(!page("overview-partner").contains("Shards"));
    assert!(page("tenant").contains(">Save<"));
    assert!(!page("tenant-partner").contains(">Save<"));
    assert!(!page("calls").contains("/tenants"));
}

#[test]
fn what_is_unknown_is_a_dash() {
    let pages = pages(Data::Empty).unwrap();
    let (_, session) = pages.iter().find(|(name, _)| *name == "session").unwrap();
    let facts = session.split("class=\"facts\"").nth(1).unwrap().split("</dl>").next().unwrap();
    assert_eq!(facts.matches("<span class=\"muted\">–</span>").count(), 8);
    assert!(!facts.contains(">0<"));
}

#[test]
fn a_page_is_small() {
    for (name, html) in pages(Data::Designed).unwrap() {
        assert!(html.len() < 250_000, "{name} has {} bytes", html.len());
    }
}

#[test]
fn the_audit_as_csv_has_no_formula() {
    let row = nucleus_console::screens::AuditRow {
        at: nucleus_console::ShownTime::from_micros(samples::at(10, 4, 12)),
        actor: "=1+1".to_owned(),
        actor_email: Some("@x".into()),
        action: "peer.kick".to_owned(),
        target: "a\"b".into(),
        detail: "\u{202E}x".to_owned(),
        tenant: None,
        ip: String::new(),
    };
    let line = "\"2026-11-26T10:04:12Z\",\"'=1+1\",\"peer.kick\",\"a\"\"b\",\"[U+202E]x\",\"\",\"\",\"'@x\"\r\n";
    assert_eq!(row.csv_line(), line);
}

#[test]
fn templates_keep_the_rules() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // A path of the dashboard stands behind its base path.
        for attribute in ["href=\"/", "action=\"/", "src=\"/", "hx-get=\"/", "connect=\"/"] {
            assert!(!text.contains(attribute), "{name}: {attribute}");
        }
        // Only a live part, which this crate has rendered, is written unescaped.
        let unescaped = text.matches("|safe").count();
        assert_eq!(unescaped, text.matches("{{ live|safe }}").count(), "{name}");
        count += 1;
    }
    assert!(count > 20, "{count} templates");
}
