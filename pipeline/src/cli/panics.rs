//! What is told of a panic: where, and why as far as that quotes no text of a message.

use std::any::Any;

/// Tells panics on standard error without what they quote.
pub(super) fn install() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("?");
        if let Some(lost) = crate::run::lost_connection(name, panic.payload()) {
            eprintln!("contactflow: error: {lost}");
            std::process::exit(1);
        }
        let place = panic.location().map_or_else(|| "?".to_owned(), ToString::to_string);
        eprintln!("contactflow: thread {name} panicked at {place}: {}", reason(panic.payload()));
    }));
}

/// The message of a panic. One that was written in the source is told whole; one that was put together while running is
/// told up to its first quotation mark, because behind it may stand a text (slicing a `str` off a character boundary
/// quotes it, for one).
fn reason(payload: &(dyn Any + Send)) -> &str {
    if let Some(literal) = payload.downcast_ref::<&'static str>() {
        return literal;
    }
    let message = payload.downcast_ref::<String>().map_or("no message", String::as_str);
    message.split(['"', '`', '\'', '\n']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_not_told() {
        let of = |work: fn()| reason(&*std::panic::catch_unwind(work).expect_err("panics")).to_owned();
        assert_eq!(of(|| panic!("an \"invariant\" is broken")), "an \"invariant\" is broken");
        assert!(!of(|| drop("grüße an john".to_owned().split_off(3))).contains("john"));
        let told = of(|| panic!("found {:?}, expected 3", std::hint::black_box("call john")));
        assert_eq!(told, "found ");
    }
}
