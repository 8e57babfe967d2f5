//! A ring by state.

use super::*;

mod a_full_ring {
    use super::*;

    #[test]
    fn refuses_until_the_consumer_released_and_the_producer_looked() {
        let (mut writer, mut reader) = queue(RingSize::at_least(2));
        assert_eq!(writer.stage('a'), Ok(()));
        assert_eq!(writer.stage('b'), Ok(()));
        assert_eq!(writer.stage('c'), Err('c'));
        writer.publish();
        assert_eq!(reader.take(), Some('a'));
        assert_eq!(writer.stage('c'), Err('c'), "not looked yet");
        assert_eq!(writer.reclaim(), 1);
        assert_eq!(writer.stage('c'), Ok(()));
    }
}
