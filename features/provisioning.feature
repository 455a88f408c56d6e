Feature: phoenix create provisions a container with Docker

  @node @container @mutates @req:VAL-1 @req:STEP-3.2
  Scenario: A container is provisioned from nothing
    Given the container did not exist
    When it was provisioned with phoenix create
    Then phoenix create succeeded
    And the container exists and is running
    And Docker is installed in the container
