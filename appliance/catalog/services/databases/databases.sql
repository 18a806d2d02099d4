-- Written by Rackwright: changes made by hand are undone.
CREATE DATABASE IF NOT EXISTS `rackwright` CHARACTER SET utf8mb4;
CREATE TABLE IF NOT EXISTS `rackwright`.`done` (`name` VARCHAR(64) PRIMARY KEY, `value` VARCHAR(64) NOT NULL) ENGINE = InnoDB;
${cloud.databases}
