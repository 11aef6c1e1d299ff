//! Tests of the configuration: the defaults, the precedence of flags and file, and the error texts.

use std::time::Duration;

use super::*;

fn load(text: &str, flags: Overrides) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nucleus.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), flags)
}

fn refusal(text: &str) -> String {
    let message = load(text, Overrides::default()).unwrap_err().to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

#[test]
fn the_printed_defaults_are_the_defaults() {
    assert_eq!(load(DEFAULT_TOML, Overrides::default()).unwrap(), Config::default());
}

/// Some editors write a byte order mark, and PowerShell writes UTF-16.
#[test]
fn a_byte_order_mark_is_no_part_of_the_file() {
    let text = format!("\u{feff}{DEFAULT_TOML}");
    assert_eq!(load(&text, Overrides::default()).unwrap(), Config::default());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nucleus.toml");
    std::fs::write(&path, b"\xff\xfes\0").unwrap();
    let error = Config::load(Some(&path), Overrides::default()).unwrap_err().to_string();
    assert!(error.contains("UTF-16: save it as UTF-8"), "{error}");
}

#[test]
fn the_printed_examples_are_accepted() {
    let example = |line: &str| {
        ["# http", "# shards", "# [t", "# cert_", "# key_", "# algo", "# public", "# aud"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let uncommented: Vec<&str> = DEFAULT_TOML
        .lines()
        .map(|line| if example(line) { line.trim_start_matches("# ") } else { line })
        .collect();
    let config = load(&uncommented.join("\n"), Overrides::default()).unwrap();
    assert_eq!(config.http, HttpAddr::At(HttpAddr::DEFAULT));
    assert!(config.tls.is_some() && config.tokens.is_some());
}

#[test]
fn flag_beats_file_beats_default() {
    let file = "shards = 3\ntick = \"5ms\"\n";
    let config = load(file, Overrides { shards: Some(7), ..Overrides::default() }).unwrap();
    assert_eq!(config.shards, 7);
    assert_eq!(config.tick, Tick::Fixed(Duration::from_millis(5)));
    assert_eq!(config.session.port(), 5055);
    assert_eq!(Config::load(None, Overrides::default()).unwrap(), Config::default());
}

#[test]
fn unknown_keys_are_named_with_their_line() {
    assert!(refusal("shards = 1\nshard = 2\n").contains("nucleus.toml:2: unknown field `shard`"));
    assert!(refusal("[limits]\nseats = 1\n").contains(":2: unknown field `seats`"));
    let tls = "[tls]\ncert_file = \"a\"\nkey_file = \"b\"\nca = \"c\"\n";
    assert!(refusal(tls).contains("unknown field `ca`"));
    let tokens = "[tokens]\nalgorithm = \"EdDSA\"\npublic_key_file = \"a\"\nleeway = 1\n";
    assert!(refusal(tokens).contains("unknown field `leeway`"));
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_key() {
    for (text, expected) in [
        ("tick = 5", "nucleus.toml:1: tick: invalid type: integer `5`, expected a string"),
        ("dscp = 1\nshards = \"a\"", ":2: shards: "),
        ("shards = 70000", ":1: shards: invalid value: integer `70000`, expected a whole number"),
        ("[limits]\nrooms = -1", ":2: limits.rooms: "),
        ("[limits]\nrooms = -1", "expected a whole number (nucleus config shows"),
        ("limits = 5", ":1: limits: invalid type: integer `5`, expected a table"),
        ("[tls]\n[limits]\nring_time = 5", ":3: limits.ring_time: "),
        ("session = \"[::]:70000\"", ":1: session: `[::]:70000` is not an address: "),
        ("session = \"[::]:70000\"", "port 0 to 65535"),
    ] {
        let message = refusal(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn ranges_are_checked_in_file_and_flags() {
    for (text, key) in [
        ("shards = 0", "shards"),
        ("shards = 65", "shards"),
        ("dscp = 64", "dscp"),
        ("shards = 2\nplain_sockets = true", "need shards = 1"),
        ("tick = \"51ms\"", "tick"),
        ("session = \"localhost:1\"", "address"),
        ("http = \"no\"", "HTTP address"),
        ("log_format = \"xml\"", "log format"),
        ("session = \"[::]:7\"\nrealtime = \"[::]:7\"", "different ports"),
        ("session_also = [\"[::]:5056\"]", "realtime and session_also are both [::]:5056"),
        ("session_also = [\"[::]:443\", \"[::]:443\"]", "different ports"),
        ("session_also = [\"a\"]", "`a` is not an address"),
        (
            "session_also = [\"[::]:1\", \"[::]:2\", \"[::]:3\", \"[::]:4\", \"[::]:5\"]",
            "the length of session_also",
        ),
        ("[web]\norigins = [\"https://a/x\"]", "web.origins: \"https://a/x\" is no origin; write "),
        ("[web.tenants]\nacme = [\"acme\"]", "web.tenants.acme: \"acme\" is no origin"),
        ("[web]\norigin = []", "unknown field `origin`"),
        ("[control]\naudit_days = 0", "control.audit_days = 0 is out of range: write 1 to 3650"),
        ("[control]\naudit_days = 3651", "control.audit_days"),
        (
            "[control]\nhistory_days = 0",
            "control.history_days = 0 is out of range: write 1 to 3650",
        ),
        ("[control]\nhistory_days = 3651", "control.history_days"),
        ("[limits]\nroom_capacity = 4001", "limits.room_capacity"),
        ("[limits]\nunjoined_timeout = \"6s\"", "limits.unjoined_timeout"),
        ("[limits]\npeer_ttl = \"0s\"", "limits.peer_ttl = 0s is out of range: write 1s to 600s"),
        ("[limits]\ntenant_rooms = 0", "limits.tenant_rooms"),
        ("[limits]\ntenant_sessions = 0", "limits.tenant_sessions"),
        ("[limits]\nuser_sessions = 10001", "limits.user_sessions"),
        ("[limits]\nkept_rooms = 10001", "limits.kept_rooms"),
        ("[limits]\nempty_room_ttl = \"3601s\"", "limits.empty_room_ttl"),
        ("[limits]\nring_time = \"4s\"", "limits.ring_time = 4s is out of range: write 5s to 300s"),
        ("[limits]\ntenant_calls = 0", "limits.tenant_calls"),
        ("[limits]\negress_bits_per_s = 1", "limits.egress_bits_per_s"),
    ] {
        let message = refusal(text);
        assert!(message.contains(key), "{text}: {message}");
    }
    let flags = Overrides { shards: Some(0), ..Overrides::default() };
    assert!(Config::load(None, flags).is_err());
}

#[test]
fn in_production_no_page_is_admitted_until_it_is_named() {
    let local = "http://localhost:8055";
    let default = WebSettings::default();
    assert!(default.origins(true).admits("demo", local), "development mode");
    assert!(!default.origins(false).admits_for_somebody(local));
    let none = WebSettings { origins: Some(vec![]), ..WebSettings::default() };
    assert!(!none.origins(true).admits_for_somebody(local), "an empty list admits nobody");
    let tenants = [("acme".to_owned(), vec![]), ("b".to_owned(), vec!["*".to_owned()])].into();
    let some = WebSettings { origins: Some(vec!["loopback".to_owned()]), tenants };
    let origins = some.origins(false);
    assert!(origins.admits("other", local) && !origins.admits("acme", local));
    assert!(origins.admits("b", "https://b.example") && !origins.admits("b2", "https://b.example"));
}

#[test]
fn a_signature_needs_its_own_kind_of_key() {
    assert!(refusal("[tokens]\nalgorithm = \"HS256\"\n").contains("needs tokens.secret_file"));
    let both = "[tokens]\nalgorithm = \"ES256\"\npublic_key_file = \"a\"\nsecret_file = \"b\"\n";
    assert!(refusal(both).contains("no tokens.secret_file"));
    assert!(refusal("[tokens]\nalgorithm = \"none\"\n").contains("none"));
    assert!(refusal("[tls]\ncert_file = \"a\"\n").contains("key_file"));
}

#[test]
fn a_missing_file_is_an_error_and_names_itself() {
    let error = Config::load(Some(Path::new("/nowhere/n.toml")), Overrides::default());
    assert!(error.unwrap_err().to_string().contains("/nowhere/n.toml"));
}

#[test]
fn only_the_wildcard_has_a_stand_in() {
    let any = "[::]:5055".parse().unwrap();
    assert_eq!(without_ipv6(any), Some("0.0.0.0:5055".parse().unwrap()));
    assert_eq!(without_ipv6("[::1]:5055".parse().unwrap()), None);
    assert_eq!(without_ipv6("0.0.0.0:5055".parse().unwrap()), None);
}

#[test]
fn an_authority_needs_https_and_no_other_certificate() {
    let acme = "[acme]\ndomains = [\"a.example.com\"]\n";
    let https = "https = \"[::]:443\"\n";
    let config = load(&format!("{https}{acme}"), Overrides::default()).unwrap();
    assert_eq!(config.acme.as_ref().unwrap().domains, ["a.example.com"]);
    assert!(!config.has_development_certificate());
    assert!(refusal(acme).contains("[acme] needs https"));
    let both = format!("{https}{acme}[tls]\ncert_file = \"c\"\nkey_file = \"k\"\n");
    assert!(refusal(&both).contains("keep one of them"));
    for (line, text) in [
        ("directory = \"http://a/dir\"", "acme.directory must be an https address"),
        ("contact = \"a@example.com\"", "acme.contact must begin with mailto:"),
    ] {
        assert!(refusal(&format!("{https}{acme}{line}\n")).contains(text), "{line}");
    }
    for domains in ["[]", "[\"*.a.b\"]"] {
        let text = format!("{https}[acme]\ndomains = {domains}\n");
        assert!(refusal(&text).contains("acme.domains"), "{domains}");
    }
    let examples: String = DEFAULT_TOML
        .lines()
        .skip_while(|line| *line != "# [acme]")
        .take_while(|line| !line.is_empty())
        .map(|line| format!("{}\n", line.trim_start_matches("# ")))
        .collect();
    let config = load(&format!("{https}{examples}"), Overrides::default()).unwrap();
    let acme = config.acme.unwrap();
    let left_out = load(&format!("{https}[acme]\ndomains = [\"a.b\"]"), Overrides::default());
    assert_eq!(acme.directory, left_out.unwrap().acme.unwrap().directory, "the printed default");
    assert!(acme.root_file.is_some() && acme.external_account.is_some());
}

#[test]
fn the_address_of_the_dashboard_has_no_path() {
    let with = |url: &str| format!("[sign_in]\nurl = \"{url}\"\n");
    for url in ["https://nucleus.example.com", "https://[::1]:8443", "http://localhost:8055"] {
        let config = load(&with(url), Overrides::default()).unwrap();
        assert_eq!(config.sign_in.url.as_deref(), Some(url));
    }
    for url in
        ["nucleus.example.com", "https://", "https://a/", "https://a/b", "https://a b", "ftp://a"]
    {
        assert!(refusal(&with(url)).contains("sign_in.url"), "{url}");
    }
}

#[test]
fn single_sign_on_makes_nobody_more_than_its_domain_says() {
    let url = "[sign_in]\nurl = \"https://n.example.com\"\n";
    let with = |domain: &str| {
        let oidc = "[sign_in.oidc]\nissuer = \"https://a.example\"\nclient_id = \"n\"\n";
        format!("{oidc}domains = [{{ {domain} }}]\n")
    };
    let good = "domain = \"a.b\", role = \"partner_admin\", tenant = \"acme\"";
    let config = load(&format!("{url}{}", with(good)), Overrides::default()).unwrap();
    assert_eq!(config.sign_in.oidc.unwrap().domains[0].tenant.as_deref(), Some("acme"));
    assert!(refusal(&with(good)).contains("needs sign_in.url"));
    let plain = with(good).replace("https", "http");
    assert!(refusal(&format!("{url}{plain}")).contains("must be an https address"));
    for bad in [
        "domain = \"a.b\", role = \"super_admin\"",
        "domain = \"a.b\", role = \"super_admin\", tenant = \"acme\"",
        "domain = \"a.b\", role = \"partner_admin\"",
        "domain = \"a@b\", role = \"viewer\"",
    ] {
        assert!(refusal(&format!("{url}{}", with(bad))).contains("sign_in.oidc.domains"), "{bad}");
    }
    let example: String = DEFAULT_TOML
        .lines()
        .skip_while(|line| *line != "# [sign_in.oidc]")
        .take_while(|line| !line.is_empty())
        .map(|line| format!("{}\n", line.trim_start_matches("# ")))
        .collect();
    assert!(load(&format!("{url}{example}"), Overrides::default()).is_ok());
}
