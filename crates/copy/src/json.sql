COALESCE((
  WITH RECURSIVE part (path, value) AS (
    SELECT CAST(_utf8mb4'$' AS CHAR(16777216) CHARACTER SET utf8mb4), {column}
    UNION ALL
    SELECT CONCAT(part.path, step.step), step.value FROM part, LATERAL (
      SELECT CONCAT(_utf8mb4'.', JSON_QUOTE(keyed.name)) AS step,
        JSON_EXTRACT(part.value, CONCAT(_utf8mb4'$.', JSON_QUOTE(keyed.name))) AS value
      FROM JSON_TABLE(JSON_KEYS(part.value), _utf8mb4'$[*]' COLUMNS (name LONGTEXT CHARACTER SET utf8mb4 PATH _utf8mb4'$')) AS keyed
      WHERE JSON_TYPE(part.value) = 'OBJECT'
      UNION ALL
      SELECT CONCAT(_utf8mb4'[', listed.place - 1, _utf8mb4']'), listed.value
      FROM JSON_TABLE(part.value, _utf8mb4'$[*]' COLUMNS (place FOR ORDINALITY, value JSON PATH _utf8mb4'$')) AS listed
      WHERE JSON_TYPE(part.value) = 'ARRAY'
    ) AS step
    WHERE JSON_TYPE(step.value) IN ('OBJECT', 'ARRAY', 'DECIMAL', 'DATE', 'TIME', 'DATETIME', 'TIMESTAMP', 'BLOB', 'BIT', 'OPAQUE')
  ),
  scalar (path, type, words) AS (
    SELECT path, JSON_TYPE(value), CONVERT(JSON_UNQUOTE(value) USING utf8mb4) FROM part
    WHERE JSON_TYPE(value) IN ('DECIMAL', 'DATE', 'TIME', 'DATETIME', 'TIMESTAMP', 'BLOB', 'BIT', 'OPAQUE')
  ),
  typed (path, type, words, bytes) AS (
    SELECT path, type, words, NULL FROM scalar WHERE type NOT IN ('BLOB', 'BIT', 'OPAQUE')
    UNION ALL
    SELECT path, SUBSTRING_INDEX(SUBSTRING_INDEX(words, ':', 2), ':', -1), words, HEX(FROM_BASE64(SUBSTRING_INDEX(words, ':', -1))) FROM scalar
    WHERE type IN ('BLOB', 'BIT', 'OPAQUE')
  )
  SELECT COALESCE(CONCAT('JSON_SET(CAST(_utf8mb4 0x', HEX(CAST({column} AS CHAR CHARACTER SET utf8mb4)), ' AS JSON)',
    GROUP_CONCAT(',_utf8mb4 0x', HEX(path), ',', CASE type
      WHEN 'DECIMAL' THEN CONCAT('CAST(', words, ' AS DECIMAL(65,', IF(LOCATE('.', words), LENGTH(words) - LOCATE('.', words), 0), '))')
      WHEN 'DATE' THEN CONCAT('CAST(''', words, ''' AS DATE)')
      WHEN 'TIME' THEN CONCAT('CAST(''', words, ''' AS TIME(6))')
      WHEN 'DATETIME' THEN CONCAT('CAST(''', words, ''' AS DATETIME(6))')
      WHEN 'TIMESTAMP' THEN CONCAT('(SELECT value FROM JSON_TABLE(JSON_ARRAY(_utf8mb4''', words,
        '''),_utf8mb4''$'' COLUMNS (value TIMESTAMP(6) PATH _utf8mb4''$[0]'' ERROR ON ERROR)) AS made)')
      WHEN 'type15' THEN CONCAT('x''', bytes, '''')
      WHEN 'type16' THEN CONCAT('(SELECT value FROM JSON_TABLE(JSON_ARRAY(', CONV(bytes, 16, 10),
        '),_utf8mb4''$'' COLUMNS (value BIT(', LENGTH(bytes) * 4, ') PATH _utf8mb4''$[0]'' ERROR ON ERROR)) AS made)')
      WHEN 'type250' THEN CONCAT('IF(TRUE,x''', bytes, ''',CAST(x'''' AS BINARY(65536)))')
      WHEN 'type251' THEN CONCAT('IF(TRUE,x''', bytes, ''',CAST(x'''' AS BINARY(16777216)))')
      WHEN 'type252' THEN CONCAT('(SELECT value FROM JSON_TABLE(JSON_ARRAY(x''', bytes,
        '''),_utf8mb4''$'' COLUMNS (value BLOB PATH _utf8mb4''$[0]'' ERROR ON ERROR)) AS made)')
      WHEN 'type254' THEN CONCAT('(SELECT value FROM JSON_TABLE(JSON_ARRAY(x''', bytes,
        '''),_utf8mb4''$'' COLUMNS (value BINARY(', LENGTH(bytes) DIV 2, ') PATH _utf8mb4''$[0]'' ERROR ON ERROR)) AS made)')
      ELSE CONCAT('(a scalar that a copy cannot make: ', LEFT(words, 20), ')') END
    SEPARATOR ''), ')'), 'JSON_SET(a document that is longer than max_allowed_packet)')
  FROM typed HAVING COUNT(*) > 0
), {column})
