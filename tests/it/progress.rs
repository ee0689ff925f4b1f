//! How far work is.

use std::time::Duration;
use tradefold::progress::left;

#[test]
fn what_is_left_takes_as_long_as_what_is_done() {
    let minute = Duration::from_secs(60);
    assert_eq!(left(minute, 5, 25), Some(minute * 4));
    assert_eq!(left(minute, 24, 25), Some(Duration::from_millis(2_500)));
    // Nothing is known before the first, nor when there is more than was said.
    assert_eq!([left(minute, 0, 25), left(minute, 25, 25), left(minute, 26, 25)], [None; 3]);
}
