//! The forms and the links that a page shows, read from its HTML.

/// Returns the addresses to which the forms of a page are sent, each once, with those inside dialogs.
pub(crate) fn forms(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    for form in parts(html, "<form", "</form>") {
        let head = form.split('>').next().unwrap();
        // A form whose rows give its address stands once in a dialog: the rows have the addresses.
        let of_rows = form.contains("data-who");
        if attribute(head, "method") == Some("post") && !of_rows && has_button(form) {
            found.push(attribute(head, "action").unwrap().to_owned());
        }
    }
    found.extend(attributes(html, "data-action"));
    found.sort();
    found.dedup();
    found
}

/// Returns the addresses of the links of a page, without the parts of the page itself.
pub(crate) fn links(html: &str) -> Vec<String> {
    let mut found = attributes(html, "href");
    found.retain(|link| link.starts_with('/') && !link.starts_with("/assets/"));
    found.iter_mut().for_each(|link| *link = link.split('#').next().unwrap().to_owned());
    found.sort();
    found.dedup();
    found
}

/// Returns the addresses of what a page fetches by itself: live parts and charts.
pub(crate) fn fetched(html: &str) -> Vec<String> {
    [attributes(html, "hx-get"), attributes(html, "hx-sse:connect")].concat()
}

/// Whether a form has a button that sends it.
fn has_button(form: &str) -> bool {
    parts(form, "<button", ">").any(|button| {
        !button.contains("formmethod=\"dialog\"") && !button.contains("type=\"button\"")
    })
}

fn parts<'a>(html: &'a str, begin: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    html.split(begin).skip(1).map(move |rest| rest.split(end).next().unwrap())
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = tag.split_once(&format!(" {name}=\""))?;
    value.split('"').next()
}

fn attributes(html: &str, name: &str) -> Vec<String> {
    let begin = format!(" {name}=\"");
    let values = html.split(begin.as_str()).skip(1);
    values.map(|rest| unescaped(rest.split('"').next().unwrap())).collect()
}

fn unescaped(text: &str) -> String {
    text.replace("&#38;", "&").replace("&amp;", "&")
}

#[test]
fn forms_that_nobody_can_send_are_none() {
    let page = "<form method=\"post\" action=\"/a\"><button>A</button></form>\
                <form method=\"post\" action=\"/b\"><fieldset disabled></fieldset></form>\
                <form method=\"get\" action=\"/c\"><button>C</button></form>\
                <dialog><form method=\"post\" action=\"/d\"><bdi data-who>x</bdi>\
                <button formmethod=\"dialog\">Cancel</button><button>D</button></form></dialog>\
                <button type=\"button\" data-action=\"/d/1\">D</button>\
                <div hx-sse:connect=\"/live/h\"></div>\
                <a href=\"/e?a=b&#38;c=d#f\">E</a><a href=\"#g\">G</a>";
    assert_eq!(forms(page), ["/a", "/d/1"]);
    assert_eq!(links(page), ["/e?a=b&c=d"]);
    assert_eq!(fetched(page), ["/live/h"]);
}
