-- The accounts that every server needs besides the application's, which the image makes itself.

-- Grove's own: probes, and finding out who blocks whom.
CREATE USER 'grove'@'%' IDENTIFIED BY 'change-me';
GRANT PROCESS, CONNECTION_ADMIN ON *.* TO 'grove'@'%';
GRANT SELECT ON performance_schema.* TO 'grove'@'%';

-- With this right of the application's account, CONNECTION_ID() shows Grove's id of the connection on every server.
GRANT SESSION_VARIABLES_ADMIN ON *.* TO 'app'@'%';
