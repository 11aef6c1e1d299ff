//! What the command line may set of a tenant.

use clap::Args;
use serde_json::{Value, json};

use super::values::{LimitOrNone, TimeOrNever, parse_limit, parse_time_or_never};

/// The name that stands for all products.
const ALL: &str = "all";

/// What of a tenant may be set.
#[derive(Debug, Args)]
pub struct TenantArgs {
    /// Product that the tenant has, or all; may be given several times [default: all]
    #[arg(long = "product", value_name = "PRODUCT|all")]
    products: Vec<String>,
    /// Begin of the licence, such as 2026-12-01T00:00:00Z; never: it has begun
    #[arg(long, value_name = "TIME|never", value_parser = parse_time_or_never)]
    starts: Option<TimeOrNever>,
    /// End of the licence; never: it does not end
    #[arg(long, value_name = "TIME|never", value_parser = parse_time_or_never)]
    ends: Option<TimeOrNever>,
    /// Most sessions at a time; none: as many as the configuration says
    #[arg(long, value_name = "N|none", value_parser = parse_limit)]
    max_sessions: Option<LimitOrNone>,
    /// Most rooms at a time; none: as many as the configuration says
    #[arg(long, value_name = "N|none", value_parser = parse_limit)]
    max_rooms: Option<LimitOrNone>,
    /// Most rooms that do not end when they are empty; none: as many as the configuration says
    #[arg(long, value_name = "N|none", value_parser = parse_limit)]
    max_kept_rooms: Option<LimitOrNone>,
    /// Whether the tenant's users may join
    #[arg(long)]
    active: Option<bool>,
}

impl TenantArgs {
    /// Puts what was named into the body of a request.
    pub(super) fn apply(self, body: &mut Value) {
        if self.products.iter().any(|name| name == ALL) {
            body["products"] = json!([]);
        } else if !self.products.is_empty() {
            body["products"] = json!(self.products);
        }
        let set = [
            ("starts_at", self.starts.map(|time| Value::from(time.0))),
            ("ends_at", self.ends.map(|time| Value::from(time.0))),
            ("max_sessions", self.max_sessions.map(|limit| Value::from(limit.0))),
            ("max_rooms", self.max_rooms.map(|limit| Value::from(limit.0))),
            ("max_kept_rooms", self.max_kept_rooms.map(|limit| Value::from(limit.0))),
            ("active", self.active.map(Value::from)),
        ];
        for (name, value) in set {
            if let Some(value) = value {
                body[name] = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tenant: TenantArgs,
    }

    fn applied(line: &str) -> Value {
        let mut body = json!({
            "products": ["atom"], "ends_at": "2030-01-01T00:00:00Z", "max_sessions": 5,
            "max_kept_rooms": 1, "active": true,
        });
        let words = ["nucleus"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).ok().unwrap().tenant.apply(&mut body);
        body
    }

    #[test]
    fn what_was_set_can_be_taken_back() {
        let taken_back = applied(
            "--product all --ends never --max-sessions none --max-kept-rooms none --active false",
        );
        let expected = json!({
            "products": [], "ends_at": null, "max_sessions": null, "max_kept_rooms": null,
            "active": false,
        });
        assert_eq!(taken_back, expected);
        let set = applied("--product atom --product assist --max-kept-rooms 9");
        assert_eq!(set["products"], json!(["atom", "assist"]));
        assert_eq!((&set["max_kept_rooms"], &set["max_sessions"]), (&json!(9), &json!(5)));
    }
}
