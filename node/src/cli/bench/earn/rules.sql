-- What `coalition bench earn` measures the mixed day against: the shipped rules as a set-based program of the database.
--
-- Fixed here, where the programme reads them from its rules at each event: rates of channels, a category, tiers, birthday,
-- sign-in, survey, the trigger on a tier that is reached, the one on a segment, the watch for growth. An event's key is its number
-- rather than a basket's twenty bytes. Both are in the database's favour.
CREATE TABLE basket (key bigint PRIMARY KEY, member int NOT NULL, fen bigint NOT NULL, points bigint NOT NULL);
-- double entry inside the brand: what is issued from a side, to a member
CREATE TABLE entry (key bigint NOT NULL, side smallint NOT NULL, member int NOT NULL, points bigint NOT NULL);
CREATE TABLE lot (member int NOT NULL, day int NOT NULL, points bigint NOT NULL, PRIMARY KEY (member, day));
CREATE TABLE month (member int NOT NULL, month int NOT NULL, purchases int NOT NULL, fen bigint NOT NULL,
  PRIMARY KEY (member, month));
CREATE TABLE member (id int PRIMARY KEY, balance bigint NOT NULL, accumulated bigint NOT NULL, rank smallint NOT NULL,
  birthday int, purchases bigint NOT NULL, fresh_fen bigint NOT NULL, offline_baskets int NOT NULL,
  online_baskets int NOT NULL, last_day int, day int NOT NULL, day_points bigint NOT NULL, signed_day int,
  streak int NOT NULL, survey_day int, risen_ms bigint, won_back_ms bigint);
CREATE TABLE coupon (code uuid PRIMARY KEY, member int NOT NULL, given_ms bigint NOT NULL, expires_day int NOT NULL);
CREATE TABLE notice (number bigserial PRIMARY KEY, member int, at_ms bigint NOT NULL, what text NOT NULL);
CREATE TABLE review (number bigserial PRIMARY KEY, member int NOT NULL, opened_ms bigint NOT NULL, due_ms bigint NOT NULL,
  closed boolean NOT NULL DEFAULT false);
CREATE UNIQUE INDEX ON review (member) WHERE NOT closed;
CREATE SEQUENCE stream_0;
CREATE SEQUENCE stream_1;

-- So many events of a stream from one on, of so many members: the same, by number, that the bench makes for the programme.
CREATE FUNCTION earn_events(stream int, first_event bigint, events int, members int) RETURNS void
LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
  last_turn int;
BEGIN
  CREATE TEMP TABLE IF NOT EXISTS event (key bigint, turn int, member int, kind int, fen bigint, fresh bigint,
    online boolean, at_ms bigint, day int) ON COMMIT DELETE ROWS;
  INSERT INTO event
  SELECT stream * 1099511627776 + n, row_number() OVER (PARTITION BY n * 2654435761 % members ORDER BY n),
    stream * 10000000 + n * 2654435761 % members, n * 40503 / 65536 % 10, 100 + n * 7919 % 29900,
    (100 + n * 7919 % 29900) / 3, n * 40503 % 65536 >= 32768, 1728000000000 + n * 20,
    (1728000000000 + n * 20 + 28800000) / 86400000
  FROM generate_series(first_event, first_event + events - 1) n;
  SELECT max(turn) INTO last_turn FROM event;
  -- one event of a member after the other: the tier that the one reached multiplies the next
  FOR this_turn IN 1..last_turn LOOP
    WITH known AS (
      SELECT e.key, e.member, e.kind, e.fen, e.fresh, e.online, e.at_ms, e.day,
        coalesce(m.accumulated, 0) AS accumulated, coalesce(m.rank, 0) AS rank,
        m.birthday IS NOT DISTINCT FROM e.day % 365 AS is_birthday, m.last_day, m.risen_ms, m.won_back_ms,
        CASE WHEN m.day = e.day THEN m.day_points ELSE 0 END AS day_points, m.signed_day, m.survey_day,
        CASE WHEN m.signed_day = e.day - 1 THEN m.streak + 1 ELSE 1 END AS streak
      FROM event e LEFT JOIN member m ON m.id = e.member
      WHERE e.turn = this_turn AND (e.kind < 8 OR (e.kind = 8 AND m.survey_day >= e.day) IS NOT TRUE
        AND (e.kind = 9 AND m.signed_day >= e.day) IS NOT TRUE)),
    earning AS (
      SELECT *, CASE
        WHEN kind < 8 THEN least(10000, (fresh * 2 + (fen - fresh)) * CASE WHEN online THEN 1 ELSE 3 END
          * (ARRAY[1, 11, 12])[rank + 1] * CASE WHEN is_birthday THEN 2 ELSE 1 END
          / (100 * CASE WHEN online THEN 1 ELSE 2 END * (ARRAY[1, 10, 10])[rank + 1]))
        WHEN kind = 8 THEN 10
        ELSE (ARRAY[5, 5, 8, 8, 10, 15, 20])[least(streak, 7)] + CASE WHEN streak % 7 = 0 THEN 50 ELSE 0 END
        END AS points
      FROM known),
    taken AS (
      INSERT INTO basket SELECT key, member, fen, points FROM earning WHERE kind < 8
      ON CONFLICT DO NOTHING RETURNING key),
    reached AS (
      SELECT earning.*, day_points + points AS of_day,
        CASE WHEN accumulated + points >= 10000 THEN 2 WHEN accumulated + points >= 3000 THEN 1 ELSE 0 END AS now_rank,
        CASE WHEN kind < 8 THEN day ELSE last_day END AS now_last
      FROM earning LEFT JOIN taken USING (key) WHERE kind >= 8 OR taken.key IS NOT NULL),
    gifts AS (
      SELECT *, now_rank > rank AND (risen_ms IS NULL OR at_ms - risen_ms >= 365 * 86400000::bigint) AS risen,
        now_rank >= 2 AND day - now_last >= 30
          AND (won_back_ms IS NULL OR at_ms - won_back_ms >= 90 * 86400000::bigint) AS won_back
      FROM reached),
    booked AS (INSERT INTO entry SELECT key, CASE WHEN kind < 8 THEN 0 ELSE 1 END, member, points FROM gifts),
    lots AS (
      INSERT INTO lot SELECT member, day + 366, points FROM gifts WHERE points > 0 ORDER BY member
      ON CONFLICT (member, day) DO UPDATE SET points = lot.points + excluded.points),
    months AS (
      INSERT INTO month SELECT member, day / 30, 1, fen FROM gifts WHERE kind < 8 ORDER BY member
      ON CONFLICT (member, month) DO UPDATE SET purchases = month.purchases + 1, fen = month.fen + excluded.fen),
    coupons AS (
      INSERT INTO coupon SELECT gen_random_uuid(), member, at_ms, day + 31 FROM gifts WHERE risen OR won_back
      RETURNING member, given_ms),
    told AS (
      INSERT INTO notice (member, at_ms, what)
      SELECT member, at_ms, 'tier ' || now_rank FROM gifts WHERE now_rank > rank
      UNION ALL SELECT member, given_ms, 'coupon' FROM coupons),
    watched AS (
      INSERT INTO review (member, opened_ms, due_ms)
      SELECT member, at_ms, at_ms + 86400000 FROM gifts WHERE of_day > 20000 ON CONFLICT DO NOTHING)
    INSERT INTO member
    SELECT member, points, points, now_rank, NULL, (kind < 8)::int, CASE WHEN kind < 8 THEN fresh ELSE 0 END,
      (kind < 8 AND NOT online)::int, (kind < 8 AND online)::int, now_last, day, of_day,
      CASE WHEN kind = 9 THEN day ELSE signed_day END, CASE WHEN kind = 9 THEN streak ELSE 0 END,
      CASE WHEN kind = 8 THEN day ELSE survey_day END, CASE WHEN risen THEN at_ms ELSE risen_ms END,
      CASE WHEN won_back THEN at_ms ELSE won_back_ms END
    FROM gifts ORDER BY member
    ON CONFLICT (id) DO UPDATE SET balance = member.balance + excluded.balance,
      accumulated = member.accumulated + excluded.accumulated, rank = excluded.rank,
      purchases = member.purchases + excluded.purchases, fresh_fen = member.fresh_fen + excluded.fresh_fen,
      offline_baskets = member.offline_baskets + excluded.offline_baskets,
      online_baskets = member.online_baskets + excluded.online_baskets, last_day = excluded.last_day,
      day = excluded.day, day_points = excluded.day_points, signed_day = excluded.signed_day,
      streak = CASE WHEN excluded.streak > 0 THEN excluded.streak ELSE member.streak END,
      survey_day = excluded.survey_day, risen_ms = excluded.risen_ms, won_back_ms = excluded.won_back_ms;
  END LOOP;
END $$;

-- What the stream has come to: points that members have, coupons given, tiers reached, cases opened, and by how much the
-- books differ.
CREATE VIEW reckoned AS SELECT
  (SELECT coalesce(sum(balance), 0) FROM member) AS points, (SELECT count(*) FROM coupon) AS coupons,
  (SELECT count(*) FROM notice WHERE what LIKE 'tier %') AS tiers, (SELECT count(*) FROM review) AS cases,
  (SELECT coalesce(sum(points), 0) FROM entry) - (SELECT coalesce(sum(balance), 0) FROM member) AS entries_differ,
  (SELECT coalesce(sum(points), 0) FROM lot) - (SELECT coalesce(sum(balance), 0) FROM member) AS lots_differ;
